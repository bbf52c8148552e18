// Package hubid knows what a name of a repository on the Hugging Face hub looks
// like.
//
// Whether there is one of that name, and what is in it, belongs to package hub.
package hubid

import (
	"fmt"
	"regexp"
	"strings"
)

// Check refuses names that the hub does not allow, and with them all that would
// not be plain file names in its cache. An id is org/name, without a revision.
func Check(id string) error {
	org, name, _ := strings.Cut(id, "/")
	part := regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)
	switch {
	case !part.MatchString(org) || !part.MatchString(name):
		return fmt.Errorf("%q is not the id of a repository: want org/name, of letters, digits and -_. between them", id)
	case strings.Contains(id, "--"), strings.Contains(id, ".."), strings.HasSuffix(name, ".git"):
		return fmt.Errorf("%q is not the id of a repository: -- and .. are not allowed in it, nor .git at its end", id)
	}
	return nil
}

// Is says whether a name is an id.
func Is(id string) bool { return Check(id) == nil }
