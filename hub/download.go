package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/meter"
)

// defaultParallel is how many files are downloaded at once.
const defaultParallel = 8

// Progress counts bytes of all the files asked for, those that were there
// before included. Calls do not overlap; done may go back when a file has to
// start over.
type Progress func(done, total int64)

// Download brings the named files of a commit into the cache and returns the
// snapshot's directory, where each lies under its name. Files that are there
// are not asked for again; an interrupted file goes on where it stopped; another
// process that downloads the same is waited for. With no names it brings all.
//
// Every name is a file in the directory when the error is nil. Otherwise files
// that were finished stay, the others are absent there, and what has arrived of
// them is kept where the next call finds it. Errors that another call may
// overcome are ErrPartial as well as what they are; further kinds are ErrEntry,
// ErrGated, ErrCorrupt, ErrUnsafe and, offline, ErrOffline.
func (c *Client) Download(ctx context.Context, info *Info, names []string, progress Progress) (string, error) {
	files, err := info.choose(names)
	if err != nil {
		return "", err
	}
	s, err := c.openStore(info.Repo, !info.Cached)
	if err != nil {
		return "", err
	}
	defer s.close()
	dir := filepath.Join(c.Cache, filepath.FromSlash(s.snapshot(info.Commit)))
	missing, err := s.missing(info, files)
	if err != nil || len(missing) == 0 && info.Cached {
		return dir, err
	}
	if info.Cached {
		return "", c.notCached(info, missing)
	}
	if err := s.remember(info); err != nil && len(missing) > 0 {
		return "", c.storeError(info.Repo, err)
	}
	d := &download{c: c, s: s, info: info, meter: newMeter(files, missing, progress)}
	if err := d.room(missing); err != nil {
		return "", err
	}
	if err := d.all(ctx, missing); err != nil {
		return "", d.stopped(ctx, err, len(files))
	}
	return dir, nil
}

// choose finds the named files, each once, and refuses names that are not the
// same file on every system.
func (i *Info) choose(names []string) ([]File, error) {
	files := slices.Clone(i.Files)
	if len(names) > 0 {
		files = nil
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			f, ok := i.File(name)
			if !ok {
				return nil, i.noEntry(name)
			}
			files = append(files, f)
		}
	}
	for _, f := range files {
		if !isPortable(f.Name) {
			return nil, &Error{Kind: ErrUnsafe, Text: fmt.Sprintf("%s: file name %q: refused: it is another file on some systems", i.Repo, f.Name),
				Remedy: "leave the file out"}
		}
	}
	return files, nil
}

// missing lists the files that the snapshot does not have in full.
func (s *store) missing(info *Info, files []File) ([]File, error) {
	var out []File
	for _, f := range files {
		ok, err := s.has(info.Commit, f)
		if err != nil {
			return nil, err
		}
		if !ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func (c *Client) notCached(info *Info, missing []File) error {
	var names []string
	for _, f := range missing[:min(3, len(missing))] {
		names = append(names, f.Name)
	}
	if len(missing) > 3 {
		names = append(names, fmt.Sprintf("%d more", len(missing)-3))
	}
	why, remedy := "the hub cannot be reached", "run the same command again when it can"
	if c.Offline {
		why, remedy = "HF_HUB_OFFLINE is set", "unset it to download them"
	}
	return &Error{Kind: ErrOffline, Text: fmt.Sprintf("%s: not all is in the cache, and %s: %s", info.Repo, why, strings.Join(names, ", ")), Remedy: remedy}
}

// download is one call of Download.
type download struct {
	c     *Client
	s     *store
	info  *Info
	meter *meter.Meter
}

// all downloads the files side by side, the largest first. The first error
// stops the others.
func (d *download) all(ctx context.Context, files []File) error {
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(b.Size, a.Size) })
	return forEach(ctx, files, d.c.parallel(), d.one)
}

func (c *Client) parallel() int {
	if c.Parallel > 0 {
		return c.Parallel
	}
	return defaultParallel
}

// one brings a file into the snapshot.
func (d *download) one(ctx context.Context, f File) error {
	release, err := d.s.acquire(ctx, d.c, f)
	if err != nil {
		return err
	}
	defer release()
	if ok, err := d.s.has(d.info.Commit, f); ok || err != nil {
		d.meter.Add(f.Size)
		return err
	}
	blob, err := d.s.stat(d.s.blob(f.ETag()))
	if errors.Is(err, ErrUnsafe) {
		return err
	}
	there := err == nil && blob.Mode().IsRegular() && blob.Size() == f.Size
	if there {
		d.meter.Add(f.Size)
	} else if err := d.fetch(ctx, f); err != nil {
		return err
	}
	return d.s.link(d.info.Commit, f, !there)
}

// room refuses to begin what the disk cannot hold.
func (d *download) room(files []File) error {
	var want int64
	for _, f := range files {
		want += f.Size
		if info, err := d.s.root.Stat(d.s.incomplete(f.ETag())); err == nil {
			want -= min(info.Size(), f.Size)
		}
	}
	free, ok := freeSpace(d.c.Cache)
	if !ok || want <= free {
		return nil
	}
	return &Error{Kind: ErrNoSpace, Text: fmt.Sprintf("%s: %d bytes are to be downloaded, and %s has room for %d", d.info.Repo, want, d.c.Cache, free),
		Remedy: "free some space, or set HF_HUB_CACHE to a directory on another disk"}
}

// stopped says how far it came.
func (d *download) stopped(ctx context.Context, err error, files int) error {
	done, total := d.meter.State()
	so := fmt.Sprintf("%d of %d bytes in %d files have been downloaded", done, total, files)
	e := &Error{Err: err, Remedy: "run the same command again: it goes on where this one stopped", Partial: true}
	switch {
	case ctx.Err() != nil:
		e.Kind, e.Text = ctx.Err(), "cancelled: "+so
	case diskFull(err):
		e.Kind, e.Text = ErrNoSpace, fmt.Sprintf("%s: %v; %s", d.info.Repo, err, so)
		e.Remedy = "free some space, then " + e.Remedy
	case errors.Is(err, errTransient):
		failure := d.c.explain(d.info.Repo, err)
		e.Kind, e.Text = failure, fmt.Sprintf("%v; %s", failure, so)
	case errors.As(err, new(*otherAnswer)):
		failure := d.c.explain(d.info.Repo, err)
		e.Kind, e.Text = failure, fmt.Sprintf("%v; %s", failure, so)
		e.Remedy = remedyOf(failure) + "; then " + e.Remedy
	default:
		return d.c.storeError(d.info.Repo, err)
	}
	return e
}

// storeError leaves our own errors as they are, explains answers, and says that
// others are the cache's.
func (c *Client) storeError(r Repo, err error) error {
	var own *Error
	var answer *answerError
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &answer):
		return c.explain(r, err)
	}
	return fmt.Errorf("%s: the hub's cache %s: %w", r, c.Cache, err)
}

// newMeter counts the files that are there as done.
func newMeter(files, missing []File, show Progress) *meter.Meter {
	var done, total int64
	for _, f := range files {
		total += f.Size
	}
	done = total
	for _, f := range missing {
		done -= f.Size
	}
	return meter.New(done, total, show)
}
