//go:build nopurego || !((linux || darwin) && (amd64 || arm64))

package cpu

import "errors"

// loadOneDNN: the library is not reachable on this platform.
func loadOneDNN(string, int, *kernels) (*rowLaw, error) {
	return nil, errors.New("this build has no foreign libraries")
}
