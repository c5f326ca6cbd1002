// Command connected counts, over a TCP connection to itself (tcp) or in datagrams to the unix
// socket PATH, and prints each number. With - it prints what arrives at the socket.
//
//	connected tcp|PATH
//	connected - PATH
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	talk := overUnix
	switch os.Args[1] {
	case "tcp":
		talk = overTCP
	case "-":
		talk = hear
	}
	if err := talk(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func overTCP() error {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // criu does not know it
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:7777")
	if err != nil {
		return err
	}
	out, err := net.Dial("tcp", "127.0.0.1:7777")
	if err != nil {
		return err
	}
	in, err := listener.Accept()
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		if _, err := fmt.Fprintln(out, i); err != nil {
			return err
		}
		var got int
		if _, err := fmt.Fscan(in, &got); err != nil {
			return err
		}
		fmt.Println(got)
		time.Sleep(100 * time.Millisecond)
	}
}

func overUnix() error {
	conn, err := net.Dial("unixgram", os.Args[1])
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		if _, err := fmt.Fprintln(conn, i); err != nil {
			return err
		}
		fmt.Println(i)
		time.Sleep(100 * time.Millisecond)
	}
}

func hear() error {
	conn, err := net.ListenPacket("unixgram", os.Args[2])
	if err != nil {
		return err
	}
	text := make([]byte, 64)
	for {
		n, _, err := conn.ReadFrom(text)
		if err != nil {
			return err
		}
		fmt.Print(string(text[:n]))
	}
}
