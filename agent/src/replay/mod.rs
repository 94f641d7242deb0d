//! Input from files: evlog and packet captures.
