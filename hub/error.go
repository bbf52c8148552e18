package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The kinds of errors, for errors.Is.
var (
	ErrNotFound     = errors.New("not found")                    // no such repository, or it is hidden
	ErrRevision     = errors.New("no such revision")             // the repository is there
	ErrEntry        = errors.New("no such file")                 // the revision is there
	ErrGated        = errors.New("access is gated")              // the licence has to be accepted
	ErrUnauthorized = errors.New("not authorised")               // the token is wrong or may not do this
	ErrUnreachable  = errors.New("the hub cannot be reached")    // no connection
	ErrServer       = errors.New("the hub failed")               // it answered, but not with what was asked for
	ErrOffline      = errors.New("offline")                      // and not in the cache
	ErrCorrupt      = errors.New("not what was announced")       // size or hash
	ErrUnsafe       = errors.New("refused")                      // names or links that lead out of the cache, absurd sizes
	ErrNoSpace      = errors.New("no space left on the disk")    // or in a quota
	ErrPartial      = errors.New("partial")                      // the same call goes on where this one stopped
	ErrBusy         = errors.New("the repository changed")       // while it was pushed to
	errTransient    = errors.New("worth trying again")           // inside this package
	errTooManyHops  = errors.New("more than 10 redirects")       // inside this package
	errStalled      = errors.New("nothing arrived for too long") // inside this package
)

// Error is what goes wrong with a repository. Its text names the repository or
// the file; Remedy says what to do about it and may be empty.
type Error struct {
	Kind   error // one of the kinds above
	Text   string
	Remedy string
	Err    error // the cause, which the text has told; may be nil
	// Partial: the same call goes on where this one stopped. The error is then
	// ErrPartial too.
	Partial bool
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Is tells partial errors.
func (e *Error) Is(target error) bool { return e.Partial && target == ErrPartial }

// remedyOf returns the remedy of an error that has one.
func remedyOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Remedy
	}
	return ""
}

// answerError is an answer other than success.
type answerError struct {
	status  int
	code    string // X-Error-Code
	message string // what the server says, without the token
	url     string // without query: that may hold a signature
	wait    waiting
	foreign bool // not the hub, but what it redirects to
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.url, e.status, http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// Is makes answers that may be better next time transient.
func (e *answerError) Is(target error) bool { return target == errTransient && retriable(e.status) }

func retriable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// maxMessage is how much of a server's explanation is repeated.
const maxMessage = 400

// newAnswerError reads why a request failed and closes the answer.
func (c *Client) newAnswerError(res *http.Response) *answerError {
	defer res.Body.Close()
	raw, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	return &answerError{
		status: res.StatusCode, code: res.Header.Get("X-Error-Code"), url: publicURL(res.Request.URL),
		foreign: !sameOrigin(res.Request.URL, c.Endpoint),
		message: c.scrub(serverMessage(res.Header, raw)), wait: waitOf(res.Header),
	}
}

func serverMessage(h http.Header, body []byte) string {
	text := h.Get("X-Error-Message")
	var object struct {
		Error   any    `json:"error"`
		Message string `json:"message"`
	}
	if text == "" && json.Unmarshal(body, &object) == nil {
		text = object.Message
		if s, ok := object.Error.(string); ok {
			text = s
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// scrub takes the token out of a text that somebody else wrote.
func (c *Client) scrub(text string) string {
	if c.Token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.Token, "[token]")
}

// explain turns an answer, or the lack of one, into what it means for a
// repository: why it cannot be had, and what to do.
func (c *Client) explain(r Repo, err error) error {
	var a *answerError
	if !errors.As(err, &a) {
		return c.unreachable(r, err)
	}
	page := c.Endpoint + r.web()
	e := &Error{Err: err}
	switch {
	case a.foreign:
		e.Kind, e.Text = ErrServer, fmt.Sprintf("%s: %s", r.ID, a.Error())
		e.Remedy = "run the same command again"
	case a.code == "GatedRepo":
		e.Kind = ErrGated
		e.Text = fmt.Sprintf("%s: access is gated: its licence has to be accepted first", r.ID)
		e.Remedy = fmt.Sprintf("accept it at %s, %s, then run the same command again", page, c.account())
	case a.code == "RevisionNotFound":
		e.Kind, e.Text = ErrRevision, fmt.Sprintf("%s has no revision %q", r.ID, r.revision())
	case a.code == "EntryNotFound":
		e.Kind, e.Text = ErrEntry, fmt.Sprintf("%s: %s", r, a.Error())
	case a.status == http.StatusUnauthorized && strings.Contains(a.message, "Invalid credentials"):
		e.Kind, e.Text = ErrUnauthorized, fmt.Sprintf("%s: the hub does not accept the token of %s", r.ID, c.TokenFrom)
		e.Remedy = "make a new one at " + c.Endpoint + "/settings/tokens, or unset it to read what is public"
	case a.code == "RepoNotFound", a.status == http.StatusUnauthorized, a.status == http.StatusNotFound:
		e.Kind, e.Text = ErrNotFound, fmt.Sprintf("%s: the hub has no such %s, or it is private", r.ID, r.Kind)
		e.Remedy = "check the name; for a private one, " + c.needToken()
	case a.status == http.StatusForbidden:
		e.Kind, e.Text = ErrUnauthorized, fmt.Sprintf("%s: access is denied%s", r.ID, colon(a.message))
		e.Remedy = "see whether the token may do this, at " + c.Endpoint + "/settings/tokens"
	case a.status == http.StatusTooManyRequests:
		e.Kind, e.Text = ErrServer, fmt.Sprintf("%s: the hub asks to slow down (429)%s", r.ID, colon(a.message))
		e.Remedy = "wait " + a.wait.String() + " and run the same command again" + c.tokenHelps()
	default:
		e.Kind, e.Text = ErrServer, fmt.Sprintf("%s: %s", r.ID, a.Error())
		e.Remedy = "run the same command again later; " + c.Endpoint + " may be out of order"
	}
	return e
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// unreachable explains what is not an answer.
func (c *Client) unreachable(r Repo, err error) error {
	var known *Error
	var other *otherAnswer
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &other):
		return &Error{Kind: ErrServer, Err: err, Text: fmt.Sprintf("%s: %v", r.ID, err), Remedy: c.seeProxy()}
	}
	return &Error{Kind: ErrUnreachable, Err: err, Text: fmt.Sprintf("%s: %v", r.ID, err),
		Remedy: "check the connection (and HF_ENDPOINT, HTTPS_PROXY)"}
}

// seeProxy is what to do about answers that are not the hub's.
func (c *Client) seeProxy() string {
	return "see whether a proxy or a login page answers in the place of " + c.Endpoint
}

// account says whose access counts.
func (c *Client) account() string {
	if c.Token == "" {
		return "then " + c.needToken()
	}
	return "with the account that the token of " + c.TokenFrom + " belongs to"
}

func (c *Client) needToken() string {
	if c.Token != "" {
		return "see that the token of " + c.TokenFrom + " may read it"
	}
	return "set HF_TOKEN to a token from " + c.Endpoint + "/settings/tokens"
}

func (c *Client) tokenHelps() string {
	if c.Token != "" {
		return ""
	}
	return "; requests with a token (HF_TOKEN) are allowed more"
}
