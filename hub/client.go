package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Client talks to a hub and keeps its cache. Its fields must not change while
// it is used; any number of goroutines may use it.
type Client struct {
	Endpoint  string // such as https://huggingface.co, without a slash at the end
	Token     string // sent to the endpoint's own origin and nowhere else; may be empty
	TokenFrom string // where the token was found, for messages
	Cache     string // directory
	Offline   bool   // use the cache alone
	NoLinks   bool   // put files, not links, into snapshots
	UserAgent string
	Parallel  int // files at once; 0: 8
	Retry     Retry

	// Transport carries requests; nil: http.DefaultTransport. Redirects are
	// followed here.
	Transport http.RoundTripper
	// Note, which may be nil, is told what a person would like to know: why
	// there is a pause, that the cache is used. It may be called at any time
	// from any goroutine, and never with a token or a signed address.
	Note func(text string)
	// Trace, which may be nil, is told of every request and its outcome, under
	// the same rules.
	Trace func(text string)
}

// Retry says how stubborn a client is. The zero value means the defaults.
type Retry struct {
	Tries   int           // in a row without a byte of progress; 0: 5
	Base    time.Duration // first pause, doubled each time; 0: 1 s
	Most    time.Duration // longest pause of our own choice; 0: 8 s
	MostAsk time.Duration // longest pause the server may ask for; 0: 5 min
	Stall   time.Duration // how long a connection may be silent; 0: 30 s
}

func (r Retry) withDefaults() Retry {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	if r.Tries == 0 {
		r.Tries = 5
	}
	set(&r.Base, time.Second)
	set(&r.Most, 8*time.Second)
	set(&r.MostAsk, 5*time.Minute)
	set(&r.Stall, 30*time.Second)
	return r
}

// FromEnv makes a client from the variables that huggingface_hub reads:
// HF_ENDPOINT; HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME; HF_TOKEN, HF_TOKEN_PATH and
// the token file in HF_HOME; HF_HUB_OFFLINE; HF_HUB_DISABLE_SYMLINKS;
// HF_HUB_DISABLE_IMPLICIT_TOKEN.
func FromEnv(getenv func(string) string) (*Client, error) {
	home, err := hfHome(getenv)
	if err != nil {
		return nil, err
	}
	c := &Client{
		Endpoint:  strings.TrimRight(first(getenv("HF_ENDPOINT"), DefaultEndpoint), "/"),
		Cache:     expand(first(getenv("HF_HUB_CACHE"), getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub")), getenv),
		Offline:   isTrue(first(getenv("HF_HUB_OFFLINE"), getenv("TRANSFORMERS_OFFLINE"))),
		NoLinks:   isTrue(getenv("HF_HUB_DISABLE_SYMLINKS")),
		UserAgent: "coppice",
		Transport: newTransport(),
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, errors.New("HF_ENDPOINT is not the address of a hub: want one such as https://huggingface.co")
	}
	c.Token, c.TokenFrom, err = findToken(home, getenv)
	return c, err
}

// newTransport speaks HTTP/1.1: files that arrive side by side then have a
// connection each, which is what makes them arrive faster.
func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxIdleConnsPerHost = 2 * defaultParallel
	return t
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func hfHome(getenv func(string) string) (string, error) {
	if home := getenv("HF_HOME"); home != "" {
		return expand(home, getenv), nil
	}
	if cache := getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(expand(cache, getenv), "huggingface"), nil
	}
	home := userHome(getenv)
	if home == "" {
		return "", errors.New("there is no home directory for the hub's cache; set HF_HOME")
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

func userHome(getenv func(string) string) string {
	return first(getenv("HOME"), getenv("USERPROFILE"))
}

// expand replaces ~ and $NAME, as huggingface_hub does.
func expand(path string, getenv func(string) string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		path = userHome(getenv) + rest
	}
	return os.Expand(path, getenv)
}

// findToken looks where huggingface_hub does. It fails on a token that could
// not be sent, without showing it.
func findToken(home string, getenv func(string) string) (token, from string, err error) {
	if isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return "", "", nil
	}
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if token, from = strings.TrimSpace(getenv(name)), name; token != "" {
			return token, from, checkToken(token, from)
		}
	}
	path := expand(first(getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")), getenv)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", nil
	case err != nil:
		return "", "", fmt.Errorf("read the hub's token: %w", err)
	}
	token = strings.TrimSpace(string(raw))
	return token, path, checkToken(token, path)
}

func checkToken(token, from string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("%s holds something that is not a token: it has spaces or special characters in it", from)
	}
	return nil
}

func (c *Client) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

func (c *Client) trace(format string, args ...any) {
	if c.Trace != nil {
		c.Trace(fmt.Sprintf(format, args...))
	}
}
