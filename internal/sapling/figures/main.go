// Figures measures Sapling with the coppice command, as a user would, and writes
// docs/sapling.md: how it was trained, and what each layer set and each way of healing
// comes to. Trials that are there already are not run again.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/sapling"
)

func main() {
	l := &lab{}
	out := flag.String("out", "docs/sapling.md", "file to write")
	flag.StringVar(&l.coppice, "coppice", "bin/coppice", "the program")
	flag.StringVar(&l.trained, "sapling", "", "directory of make sapling; trials go below it")
	flag.Parse()
	if l.trained == "" {
		fmt.Fprintln(os.Stderr, "figures: pass -sapling with a directory")
		os.Exit(2)
	}
	l.dir = filepath.Join(l.trained, "figures")
	if err := write(l, *out); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func write(l *lab, out string) error {
	if err := sapling.Make(filepath.Join(l.dir, "sapling")); err != nil {
		return err
	}
	page, err := l.page()
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(page), 0o666)
}
