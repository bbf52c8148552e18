package torchfile

import "bytes"

// Unpickle runs a pickle alone.
func Unpickle(raw []byte) error {
	_, _, err := unpickle(bytes.NewReader(raw), 0, int64(len(raw)), "x.bin")
	return err
}

// The limits of a pickle and of an archive's directory.
const (
	MaxOpcodes   = maxOpcodes
	MaxDirectory = maxDirectory
)
