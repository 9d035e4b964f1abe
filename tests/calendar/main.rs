//! Schedules against judges that share no code with them: an oracle that goes minute by minute, systemd, and tables of
//! every clock change.

mod oracle;
mod random;
mod systemd;
mod transitions;
