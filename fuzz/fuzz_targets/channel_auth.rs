#![no_main]
reverb_fuzz::target!(channel_auth);
