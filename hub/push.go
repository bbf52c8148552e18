package hub

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/coppice-ml/coppice/internal/meter"
)

// PushOptions of Push.
type PushOptions struct {
	// Public makes a new repository public, and allows pushing to one that is.
	Public bool
	// Message is the title of the commit.
	Message string
	// Progress, which may be nil, counts the bytes that are hashed and then, from
	// 0 again, those that are sent.
	Progress Progress
}

// Pushed is what a push did.
type Pushed struct {
	Created  bool // the repository is new
	Private  bool
	URL      string // of the repository's page
	Commit   string // the new one, or where the repository stands when there was nothing to do
	Skipped  int    // files that were there already
	Uploaded int    // files that were sent
	Bytes    int64  // of the files that were sent
}

// uploadsAtOnce is how many files, and how many parts of each, are sent at once.
const uploadsAtOnce = 3

// Push puts files into a repository, which is made, private, if there is none.
// Large files go to large file storage first, then all become one commit. What
// the repository or its storage has already is not sent again, so a push that
// was broken off goes on, file by file, when it is repeated. Errors are of the
// kinds of Info, ErrBusy, and ErrPartial where repeating is worth it.
func (c *Client) Push(ctx context.Context, r Repo, files []Upload, opt PushOptions) (*Pushed, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := c.mayPush(r); err != nil {
		return nil, err
	}
	p := &push{c: c, r: r, opt: opt, out: &Pushed{URL: c.Endpoint + r.web()}}
	for _, f := range files {
		p.items = append(p.items, &item{Upload: f})
	}
	for _, step := range []func(context.Context) error{p.repository, p.ask, p.hash, p.send, p.commit} {
		if err := step(ctx); err != nil {
			return nil, p.stopped(ctx, err)
		}
	}
	return p.out, nil
}

// mayPush finds what is missing before anything is asked or read.
func (c *Client) mayPush(r Repo) error {
	switch {
	case r.revision() != defaultRevision:
		return fmt.Errorf("%s: a push goes to main; leave the revision out", r)
	case c.Offline:
		return &Error{Kind: ErrOffline, Text: r.ID + ": HF_HUB_OFFLINE is set", Remedy: "unset it to push"}
	case c.Token == "":
		return &Error{Kind: ErrUnauthorized, Text: r.ID + ": pushing needs a token, and there is none",
			Remedy: "set HF_TOKEN to a token with write access, from " + c.Endpoint + "/settings/tokens"}
	}
	return nil
}

// push is one call of Push.
type push struct {
	c     *Client
	r     Repo
	opt   PushOptions
	head  string // the commit pushed onto
	items []*item
	meter *meter.Meter
	out   *Pushed
	begun bool // something has been sent
}

// item is a file and what the hub says of it.
type item struct {
	Upload
	lfs    bool
	ignore bool   // by the repository's .gitignore
	there  string // hash of what has this name now; empty: nothing
	hash   string
}

func (i *item) unchanged() bool { return i.ignore || i.hash == i.there }

// repository finds the repository or makes it, and refuses to push to everybody
// what was meant for nobody else.
func (p *push) repository(ctx context.Context) error {
	var h head
	_, err := p.c.get(ctx, p.r.api(), false, &h)
	if err != nil && errors.Is(p.c.explain(p.r, err), ErrNotFound) {
		if p.out.Created, err = p.create(ctx); err != nil {
			return err
		}
		_, err = p.c.get(ctx, p.r.api(), false, &h)
	}
	if err != nil {
		return err
	}
	p.head, p.out.Private = h.SHA, h.Private
	switch {
	case h.Private || p.opt.Public:
		return nil
	case p.out.Created:
		return &Error{Kind: ErrServer, Text: p.r.ID + ": the hub made the repository public, though it was asked for a private one; nothing was uploaded",
			Remedy: "make it private at " + p.out.URL + "/settings, or pass --public"}
	}
	return &Error{Kind: ErrUnauthorized, Text: p.r.ID + " is public: everybody would see what is pushed",
		Remedy: "pass --public if that is what you want, or name another repository"}
}

// create makes the repository; false means that somebody else was faster.
func (p *push) create(ctx context.Context) (bool, error) {
	org, name := cutID(p.r.ID)
	visibility := "private"
	if p.opt.Public {
		visibility = "public"
	}
	r, err := jsonRequest(http.MethodPost, p.c.Endpoint+"/api/repos/create", map[string]string{
		"name": name, "organization": org, "type": string(p.r.Kind), "visibility": visibility})
	if err != nil {
		return false, err
	}
	_, err = p.c.call(ctx, r, nil)
	var a *answerError
	if errors.As(err, &a) && a.status == http.StatusConflict {
		return false, nil
	}
	if errors.As(err, &a) && a.status == http.StatusForbidden {
		return false, &Error{Kind: ErrUnauthorized, Err: err, Text: fmt.Sprintf("%s: the token of %s may not make this repository%s", p.r.ID, p.c.TokenFrom, colon(a.message)),
			Remedy: "use a token with write access, and a name of your own: NAME/" + name}
	}
	return err == nil, err
}

// askAtOnce is how many files one preupload request may name.
const askAtOnce = 256

// ask lets the hub decide which files are large, and say what it has.
func (p *push) ask(ctx context.Context) error {
	for at := 0; at < len(p.items); at += askAtOnce {
		if err := p.askAbout(ctx, p.items[at:min(at+askAtOnce, len(p.items))]); err != nil {
			return err
		}
	}
	return nil
}

func (p *push) askAbout(ctx context.Context, items []*item) error {
	type question struct {
		Path   string `json:"path"`
		Sample string `json:"sample"`
		Size   int64  `json:"size"`
	}
	var questions []question
	byName := map[string]*item{}
	for _, i := range items {
		sample, err := i.sample()
		if err != nil {
			return err
		}
		questions = append(questions, question{i.Name, base64.StdEncoding.EncodeToString(sample), i.Size})
		byName[i.Name] = i
	}
	r, err := jsonRequest(http.MethodPost, p.c.Endpoint+p.r.api()+"/preupload/"+url.PathEscape(p.r.revision()), map[string]any{"files": questions})
	if err != nil {
		return err
	}
	var answer struct {
		Files []struct {
			Path         string `json:"path"`
			UploadMode   string `json:"uploadMode"`
			ShouldIgnore bool   `json:"shouldIgnore"`
			OID          string `json:"oid"`
		} `json:"files"`
	}
	if _, err := p.c.call(ctx, r, &answer); err != nil {
		return err
	}
	for _, f := range answer.Files {
		i := byName[f.Path]
		if i == nil {
			continue
		}
		delete(byName, f.Path)
		// Storage takes no empty objects.
		i.lfs, i.ignore, i.there = f.UploadMode == "lfs" && i.Size > 0, f.ShouldIgnore, f.OID
	}
	for name := range byName {
		return &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: the hub does not say how to upload %s", p.r.ID, name)}
	}
	return nil
}

// hash names the contents and finds out which files are new.
func (p *push) hash(ctx context.Context) error {
	var total int64
	for _, i := range p.items {
		total += i.Size
	}
	m := meter.New(0, total, p.opt.Progress)
	return forEach(ctx, p.items, uploadsAtOnce, func(ctx context.Context, i *item) (err error) {
		if i.lfs {
			i.hash, err = i.sha256(ctx, m.Add)
		} else {
			i.hash, err = i.blobHash(ctx, m.Add)
		}
		return err
	})
}

// send uploads the large files that are new.
func (p *push) send(ctx context.Context) error {
	var large []*item
	var total int64
	for _, i := range p.items {
		switch {
		case i.unchanged():
			p.out.Skipped++
		case i.lfs:
			large = append(large, i)
			total += i.Size
		}
	}
	p.meter = meter.New(0, total, p.opt.Progress)
	p.begun = true
	return forEach(ctx, large, uploadsAtOnce, p.sendLarge)
}

// commit makes one commit of all that is new.
func (p *push) commit(ctx context.Context) error {
	body, n, err := p.commitBody()
	if err != nil {
		return err
	}
	if p.out.Commit = p.head; n == 0 {
		return nil
	}
	r := request{
		method: http.MethodPost, url: p.c.Endpoint + p.r.api() + "/commit/" + url.PathEscape(p.r.revision()),
		header: http.Header{"Content-Type": {"application/x-ndjson"}}, size: int64(len(body)),
		body: func() (io.Reader, error) { return bytes.NewReader(body), nil },
		// When the answer is lost, the commit may have been made: a repeated
		// push finds out, a repeated request would make another.
		once: true,
	}
	var answer struct {
		OID string `json:"commitOid"`
	}
	_, err = p.c.call(ctx, r, &answer)
	var a *answerError
	if errors.As(err, &a) && (a.status == http.StatusPreconditionFailed || a.status == http.StatusConflict) {
		return &Error{Kind: ErrBusy, Err: err, Partial: true, Text: p.r.ID + ": somebody else has pushed to it in the meantime",
			Remedy: "run the same command again: what is uploaded stays uploaded"}
	}
	p.out.Commit = answer.OID
	return err
}

// commitBody is the commit as lines of JSON, and how many files are in it.
// Files outside of large file storage travel inside.
func (p *push) commitBody() ([]byte, int, error) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	line := func(key string, value any) error {
		return lines.Encode(map[string]any{"key": key, "value": value})
	}
	header := map[string]string{"summary": p.opt.Message, "description": ""}
	if p.head != "" {
		header["parentCommit"] = p.head
	}
	if err := line("header", header); err != nil {
		return nil, 0, err
	}
	n := 0
	for _, i := range p.items {
		if i.unchanged() {
			continue
		}
		n++
		p.out.Uploaded++
		p.out.Bytes += i.Size
		if i.lfs {
			if err := line("lfsFile", map[string]any{"path": i.Name, "algo": "sha256", "oid": i.hash, "size": i.Size}); err != nil {
				return nil, 0, err
			}
			continue
		}
		content, err := i.read(i.Size)
		if err != nil {
			return nil, 0, err
		}
		if err := line("file", map[string]string{"path": i.Name, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(content)}); err != nil {
			return nil, 0, err
		}
	}
	return b.Bytes(), n, nil
}

// stopped explains why a push ended, and how far it came.
func (p *push) stopped(ctx context.Context, err error) error {
	so := "nothing has been committed"
	if p.meter != nil {
		done, total := p.meter.State()
		so = fmt.Sprintf("%d of %d bytes have been uploaded, and nothing has been committed", done, total)
	}
	again := "run the same command again: files that are uploaded are not sent twice"
	if ctx.Err() != nil {
		return &Error{Kind: ctx.Err(), Err: err, Partial: true, Text: "cancelled: " + so, Remedy: again}
	}
	var own *Error
	var answer *answerError
	switch {
	case errors.As(err, &own):
		return err
	case p.begun && (errors.Is(err, errTransient) || errors.As(err, &answer) && answer.foreign):
		return &Error{Kind: p.c.explain(p.r, err), Err: err, Partial: true, Text: fmt.Sprintf("%v; %s", p.c.explain(p.r, err), so), Remedy: again}
	case errors.As(err, &answer), errors.Is(err, errTransient):
		return p.c.explain(p.r, err)
	}
	return fmt.Errorf("push to %s: %w", p.r.ID, err)
}

// forEach calls f for every item, n at a time, until one fails.
func forEach[T any](ctx context.Context, items []T, n int, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	for _, item := range items {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, item); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
