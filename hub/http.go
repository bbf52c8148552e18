package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// request is one call. A body is made anew for every try.
type request struct {
	method string
	url    string
	header http.Header
	body   func() (io.Reader, error) // nil: none
	size   int64                     // of the body
	once   bool                      // fail at the first difficulty
}

// jsonRequest sends a value as JSON.
func jsonRequest(method, url string, value any) (request, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return request{}, fmt.Errorf("encode a request: %w", err)
	}
	return request{
		method: method, url: url, size: int64(len(raw)),
		header: http.Header{"Content-Type": {"application/json"}},
		body:   func() (io.Reader, error) { return bytes.NewReader(raw), nil },
	}, nil
}

// do sends a request until it is answered with success, an answer that another
// try will not change, or the tries are used up. The caller closes the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	pace := newPace(c.Retry)
	for {
		res, err := c.try(ctx, r)
		if err == nil {
			return res, nil
		}
		if r.once || !transient(ctx, err) {
			return nil, err
		}
		if err := pace.wait(ctx, c, err); err != nil {
			return nil, err
		}
	}
}

// try sends a request once, and makes an error of an answer that is not success.
func (c *Client) try(ctx context.Context, r request) (*http.Response, error) {
	res, err := c.follow(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, c.newAnswerError(res)
	}
	return res, nil
}

// maxHops is how many redirects are followed.
const maxHops = 10

// follow sends a request and follows redirects. hop, which may be nil, sees
// every answer on the way, the last one included, and can refuse it.
//
// The token goes to the endpoint's own origin and nowhere else: a redirect to
// the storage behind the hub carries its own signature.
func (c *Client) follow(ctx context.Context, r request, hop func(*http.Response) error) (*http.Response, error) {
	at, err := url.Parse(r.url)
	if err != nil {
		return nil, fmt.Errorf("the hub sent an address that is none: %w", errors.Unwrap(err))
	}
	method := r.method
	for range maxHops {
		res, err := c.roundTrip(ctx, method, at, r)
		if err != nil {
			return nil, err
		}
		if hop != nil {
			if err := hop(res); err != nil {
				res.Body.Close()
				return nil, err
			}
		}
		if res.StatusCode/100 != 3 || res.Header.Get("Location") == "" {
			return res, nil
		}
		res.Body.Close()
		next, err := res.Location()
		switch {
		case err != nil:
			return nil, c.badRedirect(at, "what is no address")
		case at.Scheme == "https" && next.Scheme == "http":
			return nil, c.badRedirect(at, "http, which is not encrypted")
		case next.Scheme != "https" && next.Scheme != "http" || next.Host == "":
			return nil, c.badRedirect(at, fmt.Sprintf("%.20q, which is not http", next.Scheme+":"))
		}
		if method != http.MethodGet && method != http.MethodHead && res.StatusCode != http.StatusTemporaryRedirect && res.StatusCode != http.StatusPermanentRedirect {
			return nil, fmt.Errorf("%s redirects a %s with %d, which would lose what is sent", publicURL(at), method, res.StatusCode)
		}
		at = next
	}
	return nil, fmt.Errorf("%s: %w", publicURL(at), errTooManyHops)
}

// badRedirect: another try would be sent the same way.
func (c *Client) badRedirect(at *url.URL, where string) error {
	return &Error{Kind: ErrServer, Text: fmt.Sprintf("%s redirects to %s: refused", publicURL(at), where), Remedy: c.seeProxy()}
}

func (c *Client) roundTrip(ctx context.Context, method string, at *url.URL, r request) (*http.Response, error) {
	watch := newWatch(ctx, c.Retry.withDefaults().Stall)
	req, err := http.NewRequestWithContext(watch.ctx, method, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", publicURL(at), errors.Unwrap(err))
	}
	if r.body != nil && method == r.method {
		body, err := r.body()
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = watch.body(io.NopCloser(body), nil), r.size
		if r.size == 0 {
			req.Body = http.NoBody
		}
	}
	for key, values := range r.header {
		req.Header[key] = values
	}
	req.Header.Set("User-Agent", first(c.UserAgent, "coppice"))
	req.Header.Set("Accept-Encoding", "identity") // sizes and ranges are of the file itself
	if c.Token != "" && sameOrigin(at, c.Endpoint) {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		err = watch.explain(at, err)
		watch.stop()
		c.trace("%s %s: %v", method, publicURL(at), err)
		return nil, err
	}
	c.trace("%s %s: %d", method, publicURL(at), res.StatusCode)
	res.Request = req
	res.Body = &answerBody{watched: watch.body(res.Body, at), stop: watch.stop}
	return res, nil
}

func (c *Client) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}

// sameOrigin compares scheme, host and port.
func sameOrigin(u *url.URL, endpoint string) bool {
	e, err := url.Parse(endpoint)
	return err == nil && u.Scheme == e.Scheme && strings.EqualFold(u.Hostname(), e.Hostname()) && port(u) == port(e)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// publicURL is an address without what could be secret: the query of a signed
// address, a user's name and password.
func publicURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// connectionError: no answer, or only a part of one.
type connectionError struct {
	host string
	err  error
}

func (e *connectionError) Error() string { return fmt.Sprintf("connection to %s: %v", e.host, e.err) }
func (e *connectionError) Unwrap() error { return e.err }

// Is makes all of them transient but those that will be the same next time.
func (e *connectionError) Is(target error) bool {
	if target != errTransient {
		return false
	}
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	return !errors.As(e.err, &certificate) && (!errors.As(e.err, &dns) || !dns.IsNotFound)
}

// transient says whether another try may help. When the caller has given up,
// nothing does.
func transient(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, errTransient)
}

// waiting is how long a server asks to be left alone; 0: it does not say.
type waiting time.Duration

func (w waiting) String() string {
	if w == 0 {
		return "a while"
	}
	return time.Duration(w).String()
}

// waitOf reads Retry-After, in seconds or as a date, and the hub's own
// RateLimit: "api";r=0;t=55.
func waitOf(h http.Header) waiting {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.Atoi(value); err == nil && n >= 0 && n < 1<<31 {
		return waiting(time.Duration(n) * time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return waiting(max(0, time.Until(at)).Round(time.Second))
	}
	limit := regexp.MustCompile(`;\s*r=0\s*;\s*t=([0-9]{1,9})`).FindStringSubmatch(h.Get("RateLimit"))
	if limit == nil {
		return 0
	}
	n, _ := strconv.Atoi(limit[1]) // at most nine digits
	return waiting(time.Duration(n+1) * time.Second)
}

// pace decides how long to pause between tries, and when to give up.
type pace struct {
	retry Retry
	tries int
	next  time.Duration
}

func newPace(r Retry) *pace {
	r = r.withDefaults()
	return &pace{retry: r, next: r.Base}
}

// reset forgets the failures: there was progress.
func (p *pace) reset() { p.tries, p.next = 0, p.retry.Base }

// wait pauses after a failure, or returns it when there were too many or the
// server wants a longer pause than anybody should sit through.
func (p *pace) wait(ctx context.Context, c *Client, failure error) error {
	p.tries++
	if p.tries >= p.retry.Tries {
		return failure
	}
	pause := p.next
	p.next = min(2*p.next, p.retry.Most)
	var a *answerError
	if errors.As(failure, &a) && a.wait > 0 {
		pause = time.Duration(a.wait)
	}
	if pause > p.retry.MostAsk {
		return failure
	}
	c.note("%v; trying again in %s", failure, pause)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}

// maxJSON bounds what the API may answer.
const maxJSON = 64 << 20

// call sends a request and reads the JSON it is answered with. out may be nil.
func (c *Client) call(ctx context.Context, r request, out any) (http.Header, error) {
	res, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxJSON+1))
	if err != nil {
		return nil, err
	}
	at := publicURL(res.Request.URL)
	if len(raw) > maxJSON {
		return nil, fmt.Errorf("%s: the answer is longer than %d MiB", at, maxJSON>>20)
	}
	if out == nil {
		return res.Header, nil
	}
	if what := notTheHubs(res.Header); what != "" {
		return nil, fmt.Errorf("%s: the answer is not what the hub's API gives, but %s", at, what)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("%s: the answer is not what the hub's API gives: %w", at, err)
	}
	return res.Header, nil
}

// get reads JSON below the endpoint.
func (c *Client) get(ctx context.Context, path string, once bool, out any) (http.Header, error) {
	return c.call(ctx, request{method: http.MethodGet, url: c.Endpoint + path, once: once}, out)
}

// here rewrites addresses of the public hub that a mirror repeats.
func (c *Client) here(address string) string {
	if rest, ok := strings.CutPrefix(address, DefaultEndpoint+"/"); ok {
		return c.Endpoint + "/" + rest
	}
	return address
}
