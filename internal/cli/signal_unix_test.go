//go:build unix

package cli

import "syscall"

const terminate = syscall.SIGTERM
