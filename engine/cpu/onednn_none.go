//go:build nopurego || !((linux || darwin) && (amd64 || arm64))

package cpu

import "errors"

// oneDNN is not reachable on this platform.
type oneDNN struct {
	goMultiplier
	notes []string
}

func loadOneDNN(string, int, *kernels) (*oneDNN, error) {
	return nil, errors.New("this build has no foreign libraries")
}
