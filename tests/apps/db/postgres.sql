-- What the services find in PostgreSQL, for psql.
CREATE DATABASE shop;
\connect shop
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, box size NOT NULL DEFAULT 'small');
CREATE TABLE orders (id serial PRIMARY KEY, customer_id integer NOT NULL, item text NOT NULL);
INSERT INTO customers VALUES (1, 'Ada', 'small'), (2, 'Grace', 'large');
