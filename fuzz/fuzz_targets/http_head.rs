#![no_main]
reverb_fuzz::target!(http_head);
