#![no_main]
reverb_fuzz::target!(member);
