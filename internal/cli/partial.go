package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/score"
)

// openStore opens what is kept of finished work on this model and data by this
// engine, in this version: another may compute differently. Without a cache directory nothing is kept.
func (s *session) openStore(ctx context.Context, a *app, seqs [][]int32) (*score.Store, error) {
	dir := cacheDir(a.sys.Getenv)
	if dir == "" {
		return nil, nil
	}
	c, err := checkpoint.Open(s.c.Dir(), checkpoint.WithHashCache(dir))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	hash, err := c.Hash(ctx)
	if err != nil {
		return nil, err
	}
	by := s.compute()
	store, err := score.OpenStore(filepath.Join(dir, "scores"), hash, data.HashTokens(seqs), by.Device, by.DType, by.Provider, strconv.Itoa(by.Threads), version().Version)
	if err != nil {
		a.warn("partial results are not kept: %v", err)
		return nil, nil
	}
	if n := store.Kept(); n > 0 {
		a.note("using again what earlier runs have computed: %s, from %s", plural(n, "partial result"), filepath.Join(dir, "scores"))
	}
	return store, nil
}

// partial turns a cancellation into exit code 3 where finished work was kept.
func partial(ctx context.Context, store *score.Store, err error) error {
	if err == nil || ctx.Err() == nil || store.New() == 0 {
		return err
	}
	return &hinted{err: fmt.Errorf("cancelled, with %s kept", plural(store.New(), "partial result")), kind: errPartial,
		hint: "the same command goes on from there"}
}
