//go:build !unix && scripts

package cli

import "os"

var terminate = os.Kill
