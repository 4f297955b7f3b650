#![no_main]
reverb_fuzz::target!(signed_request);
