package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// dial opens a connection.
func dial() (redis.Conn, error) {
	number, err := strconv.Atoi(os.Getenv("REDIS_DB"))
	if err != nil {
		return nil, err
	}
	options := []redis.DialOption{redis.DialPassword(os.Getenv("REDIS_PASSWORD")), redis.DialDatabase(number)}
	if path := os.Getenv("REDIS_SOCKET"); path != "" {
		return redis.Dial("unix", path, options...)
	}
	if authority := os.Getenv("REDIS_CA"); authority != "" {
		trust, err := trusting(authority)
		if err != nil {
			return nil, err
		}
		options = append(options, redis.DialUseTLS(true), redis.DialTLSConfig(trust))
	}
	return redis.Dial("tcp", os.Getenv("REDIS_HOST")+":"+os.Getenv("REDIS_PORT"), options...)
}

func redigo() (driver, error) {
	pool := &redis.Pool{MaxActive: connections, MaxIdle: connections, Wait: true, Dial: dial}
	return func(number string) (string, error) {
		connection := pool.Get()
		defer connection.Close()
		return commands("r"+number, connection)
	}, nil
}

// commands makes SET, GET, a pipeline of three, MULTI with two, and LPUSH to what is no list.
func commands(own string, connection redis.Conn) (string, error) {
	if _, err := connection.Do("SET", own+":a", "tea"); err != nil {
		return "", err
	}
	value, err := redis.String(connection.Do("GET", own+":a"))
	if err != nil {
		return "", err
	}
	connection.Send("INCR", own+":n")
	connection.Send("EXPIRE", own+":n", 60)
	connection.Send("LPUSH", own+":l", "one", "two")
	if _, err := connection.Do(""); err != nil {
		return "", err
	}
	connection.Send("MULTI")
	connection.Send("SET", own+":b", "milk")
	connection.Send("INCR", own+":n")
	answers, err := redis.Values(connection.Do("EXEC"))
	if err != nil {
		return "", err
	}
	_, err = connection.Do("LPUSH", own+":a", "sugar")
	return fmt.Sprint(value, " ", answers[1], " ", strings.Fields(fmt.Sprint(err))[0]), nil
}
