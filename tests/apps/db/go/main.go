// A service of Go's on databases, by each driver that DRIVERS names. Knows nothing of tracing.
//
// /DRIVER/N makes the same calls each time, with N in the text of each, and answers with what came of them. Connections are opened
// when requests need them.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

const connections = 8

// driver makes the calls for one request.
type driver func(number string) (string, error)

// drivers open what all requests share.
var drivers = map[string]func() (driver, error){
	"lib-pq":             libPq,
	"pgx":                pgx,
	"mysql":              mysqlPrepared,
	"mysql-interpolated": mysqlInterpolated,
	"redigo":             redigo,
}

func serve(name string, call driver) {
	http.HandleFunc("/"+name+"/", func(w http.ResponseWriter, request *http.Request) {
		answer, err := call(strings.TrimPrefix(request.URL.Path, "/"+name+"/"))
		if err != nil {
			log.Print(request.URL.Path, ": ", err)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, answer)
	})
}

func main() {
	for _, name := range strings.Split(os.Getenv("DRIVERS"), ",") {
		call, err := drivers[name]()
		if err != nil {
			log.Fatal(name, ": ", err)
		}
		serve(name, call)
	}
	log.Fatal(http.ListenAndServe(net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")), nil))
}
