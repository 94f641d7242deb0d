//! Databases behind services, by their real drivers.

mod behind;
mod calls;
mod drivers;
mod go;
mod load;
mod node;
mod python;
mod rig;
mod series;
mod shops;
mod waiters;
