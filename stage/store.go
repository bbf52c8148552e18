package stage

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// openStore opens what is kept of finished work on this model and data by this
// engine, in this version: another may compute differently. Without a cache
// directory nothing is kept.
func (s *Session) openStore(ctx context.Context, seqs [][]int32) (*score.Store, error) {
	dir := s.env.Cache
	if dir == "" {
		return nil, nil
	}
	c, err := checkpoint.Open(s.Checkpoint.Dir(), checkpoint.WithHashCache(dir))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	hash, err := c.Hash(ctx)
	if err != nil {
		return nil, err
	}
	by := s.Compute()
	identity := []string{hash, data.HashTokens(seqs), by.Device, by.DType, by.Provider, strconv.Itoa(by.Threads), s.env.Version}
	if by.Adapter != "" {
		identity = append(identity, "adapter "+by.Adapter)
	}
	if by.Trained != "" {
		identity = append(identity, "trained "+by.Trained)
	}
	store, err := score.OpenStore(filepath.Join(dir, "scores"), identity...)
	if err != nil {
		s.env.Talk.Warn("partial results are not kept: %v; see that this can be written to, or remove it", err)
		return nil, nil
	}
	return store, nil
}

// partial is the problem of a cancellation where finished work was kept.
func partial(ctx context.Context, store *score.Store, err error) error {
	if err == nil || ctx.Err() == nil || store.New() == 0 {
		return err
	}
	p := failed("cancelled, with %s kept", report.Plural(store.New(), "partial result")).with("the same command goes on from there")
	p.Kind = ErrPartial
	return p
}
