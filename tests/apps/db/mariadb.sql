CREATE USER app IDENTIFIED BY 'sesame';
GRANT ALL ON shop.* TO app;
CREATE DATABASE shop;
CREATE TABLE shop.customers (id integer PRIMARY KEY, name varchar(40) NOT NULL);
CREATE TABLE shop.orders (id integer AUTO_INCREMENT PRIMARY KEY, customer_id integer NOT NULL, item varchar(40) NOT NULL);
INSERT INTO shop.customers VALUES (1, 'Ada'), (2, 'Grace');
