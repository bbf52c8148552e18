package run

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// longestName is how long the name of a directory of trials may be, in bytes.
const longestName = 100

// checkName refuses names that cannot be directories on every system.
func checkName(name string) error {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch {
	case name == "":
		return errors.New("an empty name")
	case strings.Trim(name, ".") == "":
		return errors.New("that is no name of a directory of its own")
	case strings.ContainsAny(name, `/\<>:"|?*`):
		return errors.New(`a name has none of / \ < > : " | ? *`)
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a name has no control characters")
	case strings.HasSuffix(name, ".") || strings.TrimSpace(name) != name:
		return errors.New("a name ends in no dot, and begins and ends in no space")
	case len(name) > longestName:
		return fmt.Errorf("a name has at most %d bytes", longestName)
	case slices.Contains(devices(), base):
		return errors.New("that is a device on Windows")
	}
	return nil
}

func devices() []string {
	names := []string{"CON", "PRN", "AUX", "NUL"}
	for i := range 10 {
		names = append(names, fmt.Sprintf("COM%d", i), fmt.Sprintf("LPT%d", i))
	}
	return names
}

// shortName is what a model is called where nothing says: the last part of its path
// or id, without the revision.
func shortName(from string) string {
	if _, rest, ok := strings.Cut(from, ":"); ok && !filepath.IsAbs(from) {
		from = rest // material:model
	}
	name := path.Base(strings.TrimRight(filepath.ToSlash(from), "/"))
	name, _, _ = strings.Cut(name, "@")
	if name == "." || name == ".." || name == "/" {
		return "model"
	}
	return name
}

// Matches says whether a trial's name, or its beginning, fits a pattern such as
// llama*/bi.
func Matches(pattern, name string) (bool, error) {
	parts := strings.Split(name, "/")
	for n := range parts {
		ok, err := path.Match(pattern, strings.Join(parts[:n+1], "/"))
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
