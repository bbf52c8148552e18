// Command coppice prunes whole layers of Hugging Face language models.
//
// Everything it does is in package cli; nothing else belongs here.
package main

import (
	"os"

	"github.com/coppice-ml/coppice/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.System{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
	}))
}
