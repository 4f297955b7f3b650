//! The hub as its users meet it: real WebSocket and HTTP, over real sockets.
