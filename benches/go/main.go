// An echo, a proxy and a source of bytes with Go's net and goroutines: one goroutine per connection (two in the
// proxy), as every Go server has them. Usage: main ROLE LISTEN BUFFER [UPSTREAM]. It prints its address.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

func main() {
	role, address := os.Args[1], os.Args[2]
	buffer, err := strconv.Atoi(os.Args[3])
	check(err)
	listener, err := net.Listen("tcp", address)
	check(err)
	fmt.Println(listener.Addr())
	pattern := make([]byte, 64<<10)
	for at := range pattern {
		pattern[at] = byte(at%251) ^ byte(at>>8)
	}
	for {
		connection, err := listener.Accept()
		check(err)
		client := connection.(*net.TCPConn)
		switch role {
		case "echo":
			go echo(client, buffer)
		case "proxy":
			go proxy(client, os.Args[4])
		case "source":
			go source(client, pattern)
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func echo(client *net.TCPConn, length int) {
	defer client.Close()
	buffer := make([]byte, length)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func proxy(client *net.TCPConn, upstream string) {
	defer client.Close()
	connection, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{})
	go func() {
		// io.Copy between two TCP connections splices by itself.
		io.Copy(server, client)
		server.CloseWrite()
		close(done)
	}()
	io.Copy(client, server)
	client.CloseWrite()
	<-done
}

func source(client *net.TCPConn, pattern []byte) {
	defer client.Close()
	for {
		if _, err := client.Write(pattern); err != nil {
			return
		}
	}
}
