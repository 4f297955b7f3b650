#![no_main]
reverb_fuzz::target!(client_message);
