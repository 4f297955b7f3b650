#![no_main]
reverb_fuzz::target!(json);
