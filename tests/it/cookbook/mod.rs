//! The programs of the page `cookbook`, over both versions of HTTP.

mod requests;
mod resend;
mod upload;
