//! Statements as drivers and object mappers send them.

use crate::sql::{Dialect, Statement, TextPolicy};
use std::string::String;
use std::vec::Vec;

/// What sends it, the statement, its text (where it is another), its summary.
type Case = (&'static str, &'static str, &'static str, &'static str);

fn check(dialect: Dialect, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (sender, sql, text, summary) in cases {
        let read = Statement::read(sql.as_bytes(), dialect, TextPolicy::Sanitized, false);
        let text = if text.is_empty() { sql } else { text };
        if (read.text.as_deref().unwrap_or_default(), read.summary.as_str()) != (text, summary) {
            wrong.push(std::format!("{sender}: {sql}\n  {:?}\n  {:?}", read.text, read.summary));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn postgresql(cases: &[Case]) {
    check(Dialect::PostgreSql, cases);
}

fn mysql(cases: &[Case]) {
    check(Dialect::MySql, cases);
}

#[test]
fn convention() {
    postgresql(&[
        (
            "",
            "SELECT *\nFROM   wuser_table\nWHERE  username = ?",
            "SELECT * FROM wuser_table WHERE username = ?",
            "SELECT wuser_table",
        ),
        (
            "",
            "INSERT INTO shipping_details\n (order_id,\n address)\nSELECT order_id,\n address\nFROM   orders\nWHERE  order_id = ?",
            "INSERT INTO shipping_details (order_id, address) SELECT order_id, address FROM orders WHERE order_id = ?",
            "INSERT shipping_details SELECT orders",
        ),
        (
            "",
            "SELECT *\nFROM songs,\n artists\nWHERE songs.artist_id == artists.id",
            "SELECT * FROM songs, artists WHERE songs.artist_id == artists.id",
            "SELECT songs artists",
        ),
        (
            "",
            "SELECT order_date\nFROM (SELECT *\n FROM orders o\n JOIN customers c\n ON o.customer_id = c.customer_id)",
            "SELECT order_date FROM (SELECT * FROM orders o JOIN customers c ON o.customer_id = c.customer_id)",
            "SELECT SELECT orders customers",
        ),
        ("", "SELECT * FROM \"song list\", 'artists'", "SELECT * FROM \"song list\", ?", "SELECT \"song list\""),
        ("JDBC", "{call some_stored_procedure}", "", "CALL some_stored_procedure"),
    ]);
}

#[test]
fn sqlalchemy() {
    postgresql(&[
        (
            "asyncpg",
            "SELECT users.id, users.name \nFROM users \nWHERE users.id = $1::INTEGER",
            "SELECT users.id, users.name FROM users WHERE users.id = $1::INTEGER",
            "SELECT users",
        ),
        (
            "psycopg2",
            "SELECT users.id FROM users WHERE users.name = 'ed' \n LIMIT 1",
            "SELECT users.id FROM users WHERE users.name = ? LIMIT ?",
            "SELECT users",
        ),
        ("asyncpg", "select pg_catalog.version()", "", "SELECT"),
        ("psycopg2", "show standard_conforming_strings", "", "SHOW"),
        (
            "has_table",
            "SELECT pg_catalog.pg_class.relname \nFROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace \nWHERE pg_catalog.pg_class.relname = $1::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY[$2::VARCHAR, $3::VARCHAR, $4::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)",
            "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = $1::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY[$2::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)",
            "SELECT pg_catalog.pg_class pg_catalog.pg_namespace",
        ),
        (
            "insertmanyvalues",
            "INSERT INTO item (name, price) SELECT p0::VARCHAR, p1::FLOAT FROM (VALUES ($1::VARCHAR, $2::FLOAT, 0), ($3::VARCHAR, $4::FLOAT, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING item.id, item.id AS id__1",
            "INSERT INTO item (name, price) SELECT p0::VARCHAR, p1::FLOAT FROM (VALUES ($1::VARCHAR, $2::FLOAT, ?)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING item.id, item.id AS id__1",
            "INSERT item SELECT",
        ),
        ("savepoint", "SAVEPOINT sa_savepoint_1", "", "SAVEPOINT"),
        ("savepoint", "ROLLBACK TO SAVEPOINT sa_savepoint_1", "", "ROLLBACK"),
        ("savepoint", "RELEASE SAVEPOINT sa_savepoint_1", "", "RELEASE SAVEPOINT"),
        ("asyncpg", "BEGIN ISOLATION LEVEL READ COMMITTED;", "", "BEGIN"),
    ]);
    mysql(&[
        (
            "pymysql",
            "SELECT users.id AS users_id \nFROM users \nWHERE users.name = 'O\\'Brien' AND users.age > -3",
            "SELECT users.id AS users_id FROM users WHERE users.name = ? AND users.age > ?",
            "SELECT users",
        ),
        (
            "pymysql",
            "SELECT CAST('test plain returns' AS CHAR(60)) AS anon_1",
            "SELECT CAST(? AS CHAR(?)) AS anon_1",
            "SELECT",
        ),
        ("pymysql", "SELECT @@transaction_isolation", "", "SELECT"),
        (
            "pymysql",
            "INSERT INTO files (body) VALUES (_binary'\\0\\'x')",
            "INSERT INTO files (body) VALUES (?)",
            "INSERT files",
        ),
    ]);
}

#[test]
fn django() {
    postgresql(&[
        (
            "get",
            r#"SELECT "auth_user"."id", "auth_user"."password" FROM "auth_user" WHERE "auth_user"."id" = 1 LIMIT 21"#,
            r#"SELECT "auth_user"."id", "auth_user"."password" FROM "auth_user" WHERE "auth_user"."id" = ? LIMIT ?"#,
            "SELECT auth_user",
        ),
        (
            "join",
            r#"SELECT COUNT(*) AS "__count" FROM "shop_order" INNER JOIN "shop_customer" ON ("shop_order"."customer_id" = "shop_customer"."id") LEFT OUTER JOIN "shop_region" T5 ON ("shop_customer"."region_id" = T5."id") WHERE ("shop_order"."state" IN ('new', 'paid') AND EXTRACT('year' FROM "shop_order"."made" AT TIME ZONE 'UTC') = 2026)"#,
            r#"SELECT COUNT(*) AS "__count" FROM "shop_order" INNER JOIN "shop_customer" ON ("shop_order"."customer_id" = "shop_customer"."id") LEFT OUTER JOIN "shop_region" T5 ON ("shop_customer"."region_id" = T5."id") WHERE ("shop_order"."state" IN (?) AND EXTRACT(? FROM "shop_order"."made" AT TIME ZONE ?) = ?)"#,
            "SELECT shop_order shop_customer shop_region",
        ),
        (
            "bulk_create",
            r#"INSERT INTO "shop_item" ("name", "price", "made") VALUES ('a', 1.5, '2026-01-01T00:00:00+00:00'::timestamptz), ('b', NULL, '2026-01-02T00:00:00+00:00'::timestamptz) RETURNING "shop_item"."id""#,
            r#"INSERT INTO "shop_item" ("name", "price", "made") VALUES (?, ?, ?::timestamptz) RETURNING "shop_item"."id""#,
            "INSERT shop_item",
        ),
        (
            "exists",
            r#"SELECT 1 AS "a" FROM "shop_item" WHERE NOT (EXISTS(SELECT 1 AS "a" FROM "shop_order" U0 WHERE U0."item_id" = ("shop_item"."id") LIMIT 1)) LIMIT 1"#,
            r#"SELECT ? AS "a" FROM "shop_item" WHERE NOT (EXISTS(SELECT ? AS "a" FROM "shop_order" U0 WHERE U0."item_id" = ("shop_item"."id") LIMIT ?)) LIMIT ?"#,
            "SELECT shop_item SELECT shop_order",
        ),
        (
            "select_for_update",
            r#"SELECT "a"."id" FROM "a" INNER JOIN "b" ON ("a"."b_id" = "b"."id") WHERE "a"."id" = %s FOR UPDATE OF "a", "b""#,
            "",
            "SELECT a b",
        ),
        (
            "cursor",
            r#"DECLARE "_django_curs_139_sync_1" NO SCROLL CURSOR WITH HOLD FOR SELECT "t"."id" FROM "t""#,
            "",
            "DECLARE SELECT t",
        ),
        ("connect", "SET TIME ZONE 'UTC'", "SET TIME ZONE ?", "SET"),
    ]);
    mysql(&[
        (
            "get",
            "SELECT `auth_user`.`id` FROM `auth_user` WHERE `auth_user`.`username` = 'a' LIMIT 21",
            "SELECT `auth_user`.`id` FROM `auth_user` WHERE `auth_user`.`username` = ? LIMIT ?",
            "SELECT auth_user",
        ),
        ("connect", "SET SQL_AUTO_IS_NULL = 0", "SET SQL_AUTO_IS_NULL = ?", "SET"),
        (
            "delete",
            "DELETE `a` FROM `a` INNER JOIN `b` ON (`a`.`b_id` = `b`.`id`) WHERE `b`.`x` = 5",
            "DELETE `a` FROM `a` INNER JOIN `b` ON (`a`.`b_id` = `b`.`id`) WHERE `b`.`x` = ?",
            "DELETE a b",
        ),
    ]);
}

#[test]
fn hibernate() {
    postgresql(&[
        ("", "select o1_0.id,o1_0.total from orders o1_0 where o1_0.id=?", "", "SELECT orders"),
        (
            "",
            "select o1_0.id from shop.orders o1_0 left join shop.items i1_0 on o1_0.id=i1_0.order_id where lower(o1_0.name) like ? escape '\\'",
            "select o1_0.id from shop.orders o1_0 left join shop.items i1_0 on o1_0.id=i1_0.order_id where lower(o1_0.name) like ? escape ?",
            "SELECT shop.orders shop.items",
        ),
        ("", "update orders set total=?,version=? where id=? and version=?", "", "UPDATE orders"),
        (
            "",
            "/* insert for com.acme.Order */insert into orders (total,id) values (?,?)",
            "insert into orders (total,id) values (?,?)",
            "INSERT orders",
        ),
        ("", "select nextval('orders_seq')", "select nextval(?)", "SELECT"),
    ]);
    mysql(&[
        ("", "select next_val as id_val from orders_seq for update", "", "SELECT orders_seq"),
        ("", "update orders_seq set next_val= ? where next_val=?", "", "UPDATE orders_seq"),
        (
            "Connector/J",
            "/* mysql-connector-j-8.4.0 (Revision: 1) */SELECT  @@session.auto_increment_increment AS a, @@character_set_client AS b",
            "SELECT @@session.auto_increment_increment AS a, @@character_set_client AS b",
            "SELECT",
        ),
    ]);
}

#[test]
fn active_record() {
    postgresql(&[
        (
            "",
            r#"SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2 /*application:Shop,controller:users,traceparent:'00-x-y-01'*/"#,
            r#"SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2"#,
            "SELECT users",
        ),
        (
            "",
            r#"SELECT "posts".* FROM "posts" WHERE "posts"."user_id" IN ($1, $2, $3)"#,
            r#"SELECT "posts".* FROM "posts" WHERE "posts"."user_id" IN ($1)"#,
            "SELECT posts",
        ),
        (
            "",
            r#"INSERT INTO "posts" ("title","n") VALUES ('a', 1),('b', 2) ON CONFLICT ("title") DO UPDATE SET "n"=excluded."n" RETURNING "id""#,
            r#"INSERT INTO "posts" ("title","n") VALUES (?, ?) ON CONFLICT ("title") DO UPDATE SET "n"=excluded."n" RETURNING "id""#,
            "INSERT posts",
        ),
        (
            "",
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid WHERE a.attrelid = '\"users\"'::regclass AND a.attnum > 0",
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid WHERE a.attrelid = ?::regclass AND a.attnum > ?",
            "SELECT pg_attribute pg_attrdef pg_type",
        ),
    ]);
    mysql(&[
        (
            "",
            "SELECT `users`.* FROM `users` WHERE `users`.`active` = TRUE AND `users`.`left` IS NOT TRUE ORDER BY `users`.`id` ASC LIMIT 1",
            "SELECT `users`.* FROM `users` WHERE `users`.`active` = ? AND `users`.`left` IS NOT TRUE ORDER BY `users`.`id` ASC LIMIT ?",
            "SELECT users",
        ),
        (
            "",
            "SET  @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),  @@SESSION.wait_timeout = 2147483",
            "SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ?), @@SESSION.wait_timeout = ?",
            "SET",
        ),
        (
            "",
            "INSERT INTO `posts` (`title`) VALUES ('a') ON DUPLICATE KEY UPDATE `title`=VALUES(`title`)",
            "INSERT INTO `posts` (`title`) VALUES (?) ON DUPLICATE KEY UPDATE `title`=VALUES(`title`)",
            "INSERT posts",
        ),
    ]);
}

#[test]
fn prisma_and_sequelize() {
    postgresql(&[
        (
            "Prisma",
            r#"SELECT "public"."User"."id", "public"."User"."email" FROM "public"."User" WHERE ("public"."User"."id" = $1 AND 1=1) LIMIT $2 OFFSET $3"#,
            r#"SELECT "public"."User"."id", "public"."User"."email" FROM "public"."User" WHERE ("public"."User"."id" = $1 AND ?=?) LIMIT $2 OFFSET $3"#,
            "SELECT public.User",
        ),
        (
            "Prisma",
            r#"SELECT "t0"."id", "User_posts"."__prisma_data__" AS "posts" FROM "public"."User" AS "t0" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT "t2"."__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t1"."id") AS "__prisma_data__" FROM "public"."Post" AS "t1" WHERE "t0"."id" = "t1"."authorId" /* root select */) AS "t2" /* inner select */) AS "t3" /* middle select */) AS "User_posts" ON TRUE"#,
            r#"SELECT "t0"."id", "User_posts"."__prisma_data__" AS "posts" FROM "public"."User" AS "t0" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), ?) AS "__prisma_data__" FROM (SELECT "t2"."__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT(?, "t1"."id") AS "__prisma_data__" FROM "public"."Post" AS "t1" WHERE "t0"."id" = "t1"."authorId" ) AS "t2" ) AS "t3" ) AS "User_posts" ON ?"#,
            "SELECT public.User SELECT SELECT SELECT public.Post",
        ),
        (
            "sequelize",
            r#"SELECT "id", "name" FROM "Users" AS "User" WHERE "User"."name" = 'x''y' AND "User"."id" IN (1, 2, 3);"#,
            r#"SELECT "id", "name" FROM "Users" AS "User" WHERE "User"."name" = ? AND "User"."id" IN (?);"#,
            "SELECT Users",
        ),
        (
            "sequelize",
            r#"INSERT INTO "Users" ("id","name") VALUES (DEFAULT,$1) RETURNING "id","name";"#,
            "",
            "INSERT Users",
        ),
    ]);
    mysql(&[
        (
            "sequelize",
            "SELECT `id` FROM `Users` AS `User` WHERE `User`.`name` = 'x\\'y -- #' LIMIT 1;",
            "SELECT `id` FROM `Users` AS `User` WHERE `User`.`name` = ? LIMIT ?;",
            "SELECT Users",
        ),
        ("sequelize", "START TRANSACTION;", "", "START TRANSACTION"),
    ]);
}

#[test]
fn tools() {
    postgresql(&[
        (
            "pgbench",
            "UPDATE pgbench_accounts SET abalance = abalance + -3541 WHERE aid = 91;",
            "UPDATE pgbench_accounts SET abalance = abalance + ? WHERE aid = ?;",
            "UPDATE pgbench_accounts",
        ),
        (
            "pgbench",
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 91, -3541, CURRENT_TIMESTAMP);",
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (?, ?, ?, ?, CURRENT_TIMESTAMP);",
            "INSERT pgbench_history",
        ),
        ("pgbench -i", "copy pgbench_accounts from stdin with (freeze on)", "", "COPY pgbench_accounts"),
        (
            "pgbench -i",
            "truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
            "",
            "TRUNCATE pgbench_accounts pgbench_branches pgbench_history pgbench_tellers",
        ),
        (
            "pgbench -i",
            "drop table if exists pgbench_accounts, pgbench_branches",
            "",
            "DROP TABLE pgbench_accounts pgbench_branches",
        ),
        ("pgbench -i", "alter table pgbench_accounts add primary key (aid)", "", "ALTER TABLE pgbench_accounts"),
        ("pgbench -i", "vacuum analyze pgbench_accounts", "", "VACUUM pgbench_accounts"),
        (
            r"psql \d",
            "SELECT c.oid,\n  n.nspname,\n  c.relname\nFROM pg_catalog.pg_class c\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\nWHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE pg_catalog.default\n  AND pg_catalog.pg_table_is_visible(c.oid)\nORDER BY 2, 3;",
            "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) ? COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY ?, ?;",
            "SELECT pg_catalog.pg_class pg_catalog.pg_namespace",
        ),
        (
            r"psql \d",
            "SELECT a.attname,\n  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)\n   FROM pg_catalog.pg_attrdef d\n   WHERE d.adrelid = a.attrelid AND a.atthasdef)\nFROM pg_catalog.pg_attribute a\nWHERE a.attrelid = '16385' AND a.attnum > 0 AND NOT a.attisdropped\nORDER BY a.attnum;",
            "SELECT a.attname, (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, ?) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND a.atthasdef) FROM pg_catalog.pg_attribute a WHERE a.attrelid = ? AND a.attnum > ? AND NOT a.attisdropped ORDER BY a.attnum;",
            "SELECT SELECT pg_catalog.pg_attrdef pg_catalog.pg_attribute",
        ),
        ("JDBC", "SELECT 1", "SELECT ?", "SELECT"),
    ]);
    mysql(&[
        (
            "mysqldump",
            "INSERT INTO `t` VALUES (1,'a','x\\\\'),(2,'b',NULL),(3,'it''s',0xFF)",
            "INSERT INTO `t` VALUES (?,?,?)",
            "INSERT t",
        ),
        ("mysqldump", "SELECT /*!40001 SQL_NO_CACHE */ * FROM `t`", "SELECT SQL_NO_CACHE * FROM `t`", "SELECT t"),
        ("mysqldump", "/*!40101 SET character_set_client = 'utf8' */", "SET character_set_client = ?", "SET"),
        (
            "mysqldump",
            "LOCK TABLES `t` READ /*!32311 LOCAL */,`u` WRITE",
            "LOCK TABLES `t` READ LOCAL ,`u` WRITE",
            "LOCK t u",
        ),
        ("mysql", "select @@version_comment limit 1", "select @@version_comment limit ?", "SELECT"),
        ("mysql", "use shop", "", "USE shop"),
    ]);
}

/// Each of them has its own collection, operation and procedure.
#[test]
fn attributes() {
    let read = |sql: &str| {
        let read = Statement::read(sql.as_bytes(), Dialect::PostgreSql, TextPolicy::Off, false);
        assert_eq!(read.text, None);
        let of = |name: Option<&str>| String::from(name.unwrap_or("-"));
        [of(read.operation.as_deref()), of(read.collection.as_deref()), of(read.procedure.as_deref())].join(" ")
    };
    let cases = [
        ("select a from t", "SELECT t -"),
        ("select a from t; ", "SELECT t -"),
        ("select a from t join t u on t.a = u.b", "SELECT t -"),
        ("select a from t join u on true", "SELECT - -"),
        ("select a from \"Shop\".\"T\"", "SELECT Shop.T -"),
        ("insert into t select * from u", "INSERT - -"),
        ("insert into t select 1", "INSERT t -"),
        ("with w as (select * from t) select * from w", "SELECT t -"),
        ("with w as (delete from t returning *) select * from w", "- t -"),
        ("with w as (delete from t returning *) insert into u select * from w", "- - -"),
        ("with w as (select 1) update t set a = w.a from w", "UPDATE t -"),
        ("(select a from t) union (select a from t)", "SELECT t -"),
        ("select a from t; update t set a = 1", "- t -"),
        ("begin; select a from t", "- t -"),
        ("explain delete from t", "EXPLAIN t -"),
        ("call p(1)", "CALL - p"),
        ("call s.p()", "CALL - s.p"),
        ("create index i on t (a)", "CREATE INDEX t -"),
        ("create or replace view v as select * from t", "CREATE VIEW - -"),
        ("frobnicate t", "- - -"),
        ("", "- - -"),
    ];
    for (sql, expected) in cases {
        assert_eq!(read(sql), expected, "{sql}");
    }
}
