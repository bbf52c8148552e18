package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckApart refuses an output directory that is the checkpoint's own, lies in it,
// or holds it or a file it links to: ErrInside.
func (c *Checkpoint) CheckApart(out string) error { return checkApart(c, out) }

// CheckReplaceable refuses to wipe a directory that is neither empty nor a
// checkpoint and nothing else: ErrNotOurs.
func CheckReplaceable(dir string) error { return replaceable(dir) }

// checkApart refuses an output that is the source, lies in it, or holds it or a
// file it links to. Files are compared by identity, so links and letter case do
// not fool it.
func checkApart(c *Checkpoint, out string) error {
	src, err := filepath.EvalSymlinks(c.dir)
	if err != nil {
		return err
	}
	if src, err = filepath.Abs(src); err != nil {
		return err
	}
	target, err := resolve(out)
	if err != nil {
		return err
	}
	if Within(target, src) || Within(src, target) {
		return fmt.Errorf("%w: %s and %s; choose an output directory beside the source", ErrInside, out, c.dir)
	}
	for _, s := range c.shards {
		file, err := filepath.EvalSymlinks(s.path)
		if err != nil {
			return err
		}
		if Within(file, target) {
			return fmt.Errorf("%w: %s is a link into %s; choose another output directory", ErrInside, s.path, out)
		}
	}
	return nil
}

// resolve follows the links of as much of a path as exists.
func resolve(path string) (string, error) {
	there := existing(path)
	rest, err := filepath.Rel(there, path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(there)
	if err != nil {
		return "", err
	}
	return filepath.Join(target, rest), nil
}

// Within says whether path, absolute and with its links followed, is the directory
// or lies below it. Directories are compared by identity, so links and letter case
// do not fool it; what need not exist is what lies below.
func Within(path, dir string) bool {
	want, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, want) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}

// checkOutput refuses an output that exists, unless it may be replaced.
func checkOutput(out string, force bool) error {
	_, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !force:
		return ErrExists
	}
	return replaceable(out)
}

// replaceable refuses to wipe anything but a checkpoint or an empty directory:
// a mistyped path must never cost a home directory.
func replaceable(out string) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w and %s, so --force will not replace it", ErrNotOurs, why)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return refuse("is not a directory that can be read")
	}
	config, weights := false, false
	for _, e := range entries {
		r, known := ruleFor(e.Name())
		switch {
		case e.IsDir() && e.Name() != templateDir && e.Name() != ".cache":
			return refuse(fmt.Sprintf("has a folder %q that no checkpoint has", e.Name()))
		case !e.IsDir() && (!known || r.pattern == ".*" && e.Name() != ".gitattributes"):
			return refuse(fmt.Sprintf("has a file %q that no checkpoint has", e.Name()))
		}
		config = config || e.Name() == configName
		weights = weights || filepath.Ext(e.Name()) == ".safetensors" || filepath.Ext(e.Name()) == ".bin"
	}
	if len(entries) > 0 && !(config && weights) {
		return refuse("is not a checkpoint")
	}
	return nil
}

// install gives the finished directory its name. An old one steps aside first
// and is removed last, so that at every moment one of the two is there.
func install(tmp, out string, force bool) error {
	for _, dir := range []string{filepath.Join(tmp, templateDir), tmp} {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	old := ""
	if _, err := os.Lstat(out); err == nil {
		// It may have appeared, or changed, since the first look.
		if err := checkOutput(out, force); err != nil {
			return err
		}
		old = sibling(out, "old")
		if err := os.Rename(out, old); err != nil {
			return fmt.Errorf("move the old output aside: %w", err)
		}
	}
	if err := os.Rename(tmp, out); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, out))
		}
		return err
	}
	if err := syncDir(filepath.Dir(out)); err != nil {
		return err
	}
	if old != "" {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("the copy is complete, but the old output %s could not be removed: %w", old, err)
		}
	}
	return nil
}
