#![no_main]
reverb_fuzz::target!(frame_decoder);
