//go:build !unix

package cli

import "os"

var terminate = os.Kill
