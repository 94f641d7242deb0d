package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4/pgxpool"
	"github.com/lib/pq"
)

// row is that of a query's answer, of one column.
type row interface{ Scan(...any) error }

// query asks for one row.
type query func(text string, values ...any) row

// dialect is what differs between drivers.
type dialect struct {
	placeholders [2]string
	// code is that of an error.
	code func(error) string
	// prepared is what each connection prepares once, of a driver that keeps what it has prepared.
	prepared string
}

// statements makes a query, one with a parameter twice, what is prepared, an insertion and one that fails.
func statements(number string, ask query, dialect dialect) (string, error) {
	placeholders := dialect.placeholders
	own := "r" + number
	var names [2]string
	var id int
	if err := ask("SELECT 1 AS " + own).Scan(&id); err != nil {
		return "", err
	}
	for customer := range names {
		text := fmt.Sprintf("SELECT name AS %s FROM customers WHERE id = %s", own, placeholders[0])
		if err := ask(text, customer+1).Scan(&names[customer]); err != nil {
			return "", err
		}
	}
	if dialect.prepared != "" {
		if err := ask(dialect.prepared, "Eve").Scan(&id); err != nil {
			return "", err
		}
	}
	insert := "INSERT INTO orders (customer_id, item) VALUES (%s, %s) RETURNING id AS %s"
	if err := ask(fmt.Sprintf(insert, placeholders[0], placeholders[1], own), 1, "tea").Scan(&id); err != nil {
		return "", err
	}
	err := ask("INSERT INTO customers (id, name) VALUES (1, 'Eve') RETURNING id AS " + own).Scan(&id)
	return fmt.Sprint(names[0], " ", names[1], " ", dialect.code(err)), nil
}

var (
	numbered  = [2]string{"$1", "$2"}
	questions = [2]string{"?", "?"}
)

// pool keeps the connections that requests have needed.
func pool(name, source string) (query, error) {
	database, err := sql.Open(name, source)
	if err != nil {
		return nil, err
	}
	database.SetMaxOpenConns(connections)
	database.SetMaxIdleConns(connections)
	return func(text string, values ...any) row { return database.QueryRow(text, values...) }, nil
}

// libPq asks in two steps where there are parameters: the statement is prepared, without a name, then executed.
func libPq() (driver, error) {
	source := ""
	if os.Getenv("PGSSLMODE") == "" {
		source = "sslmode=disable"
	}
	ask, err := pool("postgres", source)
	code := func(err error) string {
		var failed *pq.Error
		errors.As(err, &failed)
		return string(failed.Code)
	}
	dialect := dialect{placeholders: numbered, code: code}
	return func(number string) (string, error) { return statements(number, ask, dialect) }, err
}

// pgx prepares each statement under a name, and keeps it.
func pgx() (driver, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	config.LazyConnect, config.MaxConns = true, connections
	database, err := pgxpool.ConnectConfig(context.Background(), config)
	ask := func(text string, values ...any) row { return database.QueryRow(context.Background(), text, values...) }
	code := func(err error) string {
		var failed *pgconn.PgError
		errors.As(err, &failed)
		return failed.Code
	}
	dialect := dialect{numbered, code, "SELECT count(*) FROM customers WHERE name <> $1"}
	return func(number string) (string, error) { return statements(number, ask, dialect) }, err
}

// mysqlPrepared prepares what has parameters for one execution.
func mysqlPrepared() (driver, error) {
	return mysqlDriver(false)
}

// mysqlInterpolated puts the parameters into the text.
func mysqlInterpolated() (driver, error) {
	return mysqlDriver(true)
}

func mysqlDriver(interpolate bool) (driver, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd = os.Getenv("MYSQL_USER"), os.Getenv("MYSQL_PASSWORD")
	config.DBName, config.InterpolateParams = os.Getenv("MYSQL_DATABASE"), interpolate
	config.Net, config.Addr = "tcp", os.Getenv("MYSQL_HOST")+":"+os.Getenv("MYSQL_PORT")
	if path := os.Getenv("MYSQL_SOCKET"); path != "" {
		config.Net, config.Addr = "unix", path
	}
	if authority := os.Getenv("MYSQL_CA"); authority != "" {
		trust, err := trusting(authority)
		if err != nil {
			return nil, err
		}
		config.TLSConfig = "authority"
		if err := mysql.RegisterTLSConfig(config.TLSConfig, trust); err != nil {
			return nil, err
		}
	}
	ask, err := pool("mysql", config.FormatDSN())
	code := func(err error) string {
		var failed *mysql.MySQLError
		errors.As(err, &failed)
		return fmt.Sprint(failed.Number)
	}
	dialect := dialect{placeholders: questions, code: code}
	return func(number string) (string, error) { return statements(number, ask, dialect) }, err
}

// trusting trusts the authority whose certificate is in a file.
func trusting(file string) (*tls.Config, error) {
	certificate, err := os.ReadFile(file)
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(certificate)
	return &tls.Config{RootCAs: authorities}, err
}
