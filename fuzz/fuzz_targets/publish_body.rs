#![no_main]
reverb_fuzz::target!(publish_body);
