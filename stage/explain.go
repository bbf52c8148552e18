package stage

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Explain adds remedies to errors of the packages below, which know nothing of
// fields. A Problem that has its own stays as it is.
func Explain(err error) error {
	err = hubError(err)
	var p *Problem
	if err == nil || errors.As(err, &p) && (!p.Remedy.Empty() || p.Kind != nil) {
		return err
	}
	for _, r := range []struct {
		is     error
		remedy string
	}{
		{checkpoint.ErrNotOurs, "name another {out}, or remove that yourself"},
		{checkpoint.ErrExists, "name another {out}, or replace it with {force}"},
		{checkpoint.ErrInside, "name an {out} beside the model's directory"},
		{syscall.EFBIG, "the size of files is limited here (ulimit -f)"},
		{checkpoint.ErrNoSpace, "free some space, or write to another disk"},
		{syscall.ENOSPC, "free some space, or write to another disk"},
		{tokenizer.ErrNone, "pass token ids with {tokens}, which need no tokenizer"},
		{chat.ErrNone, "pass {chat_template} with a file or a built-in name"},
		{checkpoint.ErrNoConfig, "MODEL is a directory with config.json and weights, safetensors or pytorch_model.bin"},
		{forest.ErrNotFinite, "look for damaged weights with `coppice inspect --deep`, or try {dtype} float32"},
		{fs.ErrPermission, "check who may read or write there"},
	} {
		if errors.Is(err, r.is) {
			return failed("%w", err).with(r.remedy)
		}
	}
	return err
}

// outOfSpace says that a file could not grow.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, checkpoint.ErrNoSpace)
}

// again is the remedy where that ended what the same command goes on with.
func again(err error) string {
	if errors.Is(err, syscall.EFBIG) {
		return "raise the limit on the size of files (ulimit -f), and the same command goes on from there"
	}
	return "make room, and the same command goes on from there"
}

// wantTokenizer is the remedy where {tokens} would not do.
func wantTokenizer(err error) error {
	if errors.Is(err, tokenizer.ErrNone) {
		return failed("%w", err).with("put the files of the model's tokenizer beside its config.json")
	}
	return err
}
