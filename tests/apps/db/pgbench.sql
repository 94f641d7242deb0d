\set id random(1, 2)
BEGIN;
SELECT name FROM customers WHERE id = :id;
INSERT INTO orders (customer_id, item) VALUES (:id, 'tea');
END;
