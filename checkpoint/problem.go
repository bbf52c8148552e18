package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/torchfile"
)

// What errors.Is can tell apart.
var (
	// ErrNoConfig: the directory has no config.json.
	ErrNoConfig = errors.New("no config.json")
	// ErrNoWeights: the directory has no weights in a form that is read.
	ErrNoWeights = errors.New("no weights")
	// ErrExists: the output exists already.
	ErrExists = errors.New("output exists")
	// ErrNotOurs: the output exists, and is something that no force replaces.
	ErrNotOurs = fmt.Errorf("%w", ErrExists)
	// ErrInside: the output is the source, lies in it, or contains it.
	ErrInside = errors.New("output and source overlap")
	// ErrNoSpace: the disk has too little free space.
	ErrNoSpace = errors.New("not enough disk space")
)

// Problem is one thing wrong with a checkpoint.
type Problem struct {
	// Path is the file, or the directory where no single file is at fault.
	Path string
	// Tensor is empty where the problem belongs to no single tensor.
	Tensor  string
	Message string
	Remedy  string
	// Err is the cause, for errors.Is and errors.As; it may be nil.
	Err error
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Path)
	if p.Tensor != "" {
		fmt.Fprintf(&b, ": tensor %q", p.Tensor)
	}
	b.WriteString(": " + p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

func (p Problem) Unwrap() error { return p.Err }

const getAgain = "get it again"

// problemOf turns the error of reading a file into a problem of that file.
func problemOf(path string, err error) Problem {
	var format *safetensors.FormatError
	if errors.As(err, &format) {
		return Problem{Path: path, Tensor: format.Tensor, Err: err,
			Message: fmt.Sprintf("at byte %d: %s", format.Offset, format.Problem),
			Remedy:  format.Action()}
	}
	var torch *torchfile.FormatError
	if errors.As(err, &torch) {
		return Problem{Path: path, Tensor: torch.Tensor, Err: err,
			Message: fmt.Sprintf("at byte %d: %s", torch.Offset, torch.Detail()),
			Remedy:  torch.Action()}
	}
	remedy := ""
	switch {
	case errors.Is(err, mmap.ErrNotRegular):
		remedy = "name a directory whose files are files"
	case errors.Is(err, fs.ErrNotExist):
		remedy = "pull the model again, or put the file back"
	}
	if errors.Is(err, fs.ErrPermission) {
		remedy = "allow reading it"
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return Problem{Path: path, Message: "cannot be read: " + err.Error(), Remedy: remedy, Err: err}
}

// maxListed bounds the lines of an error: thirty missing shards are one story.
const maxListed = 8

// joined makes one error of what is wrong, or nil.
func joined(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	errs := make([]error, 0, maxListed+1)
	for _, p := range problems[:min(len(problems), maxListed)] {
		errs = append(errs, p)
	}
	if more := len(problems) - maxListed; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more problems", more))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
