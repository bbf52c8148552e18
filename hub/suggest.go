package hub

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/internal/nearest"
)

// maxSuggestions is how many names are offered for one that is not known.
const maxSuggestions = 3

// closest returns the known words that word may have been meant for.
func closest(word string, known []string) []string {
	known = nearest.Near(word, known)
	return known[:min(maxSuggestions, len(known))]
}

// withNames puts "did you mean" before a remedy.
func withNames(remedy string, names []string) string {
	if len(names) == 0 {
		return remedy
	}
	text := "did you mean " + strings.Join(names, ", ") + "?"
	if remedy == "" {
		return text
	}
	return text + " Otherwise " + remedy
}

// noEntry names the files most like one that is not there.
func (i *Info) noEntry(name string) error {
	return &Error{Kind: ErrEntry, Text: fmt.Sprintf("%s has no file %q", i.Repo, name), Remedy: withNames("", closest(name, i.Names()))}
}

// suggestTime bounds the search for names: it only improves a message.
const suggestTime = 10 * time.Second

// suggest adds the names of repositories or revisions that may have been meant.
func (c *Client) suggest(ctx context.Context, r Repo, err error) error {
	ctx, cancel := context.WithTimeout(ctx, suggestTime)
	defer cancel()
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	better := *e
	switch {
	case errors.Is(err, ErrNotFound):
		better.Remedy = withNames(e.Remedy, closest(r.ID, c.similar(ctx, r)))
	case errors.Is(err, ErrRevision):
		better.Remedy = withNames("see "+c.Endpoint+r.web()+"/commits", closest(r.revision(), c.refs(ctx, r)))
	}
	return &better
}

// similar lists the repositories of the same owner, and those with a similar
// name when it has none.
func (c *Client) similar(ctx context.Context, r Repo) []string {
	org, name, _ := strings.Cut(r.ID, "/")
	for _, query := range []url.Values{{"author": {org}, "limit": {"500"}}, {"search": {name}, "limit": {"20"}}} {
		var found []struct {
			ID string `json:"id"`
		}
		if _, err := c.get(ctx, "/api/"+string(r.Kind)+"s?"+query.Encode(), true, &found); err != nil {
			return nil
		}
		var ids []string
		for _, f := range found {
			if IsID(f.ID) {
				ids = append(ids, f.ID)
			}
		}
		if len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// refs lists branches and tags.
func (c *Client) refs(ctx context.Context, r Repo) []string {
	var all map[string][]struct {
		Name string `json:"name"`
	}
	if _, err := c.get(ctx, r.api()+"/refs", true, &all); err != nil {
		return nil
	}
	var names []string
	for _, kind := range []string{"branches", "tags"} {
		for _, ref := range all[kind] {
			if isRevision(ref.Name) {
				names = append(names, ref.Name)
			}
		}
	}
	return names
}
