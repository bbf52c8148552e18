//go:build unix && scripts

package cli

import "syscall"

const terminate = syscall.SIGTERM
