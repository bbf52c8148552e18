package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
)

// lfsType is what large file storage speaks.
const lfsType = "application/vnd.git-lfs+json"

// lfsAction is an address to send something to.
type lfsAction struct {
	Href   string                     `json:"href"`
	Header map[string]json.RawMessage `json:"header"`
}

// lfsObject is what is to be done for one object: nothing when it has no upload.
type lfsObject struct {
	OID     string `json:"oid"`
	Actions struct {
		Upload *lfsAction `json:"upload"`
		Verify *lfsAction `json:"verify"`
	} `json:"actions"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// sendLarge uploads one file to large file storage, unless it is there. The
// question is asked just before, as the addresses in the answer expire.
func (p *push) sendLarge(ctx context.Context, i *item) error {
	o, err := p.batch(ctx, i)
	if err != nil {
		return err
	}
	up := o.Actions.Upload
	if up == nil {
		p.meter.Add(i.Size)
		return nil
	}
	if size, ok := up.number("chunk_size"); ok {
		err = p.sendParts(ctx, i, up, size)
	} else {
		_, err = p.put(ctx, i, up.Href, up.plain(), 0, i.Size)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	if o.Actions.Verify == nil {
		return nil
	}
	r, err := jsonRequest(http.MethodPost, p.c.here(o.Actions.Verify.Href), map[string]any{"oid": i.hash, "size": i.Size})
	if err != nil {
		return err
	}
	_, err = p.c.call(ctx, r, nil)
	return err
}

// batch asks where to upload an object.
func (p *push) batch(ctx context.Context, i *item) (lfsObject, error) {
	r, err := jsonRequest(http.MethodPost, p.c.Endpoint+p.r.web()+".git/info/lfs/objects/batch", map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256",
		"ref":     map[string]string{"name": p.r.revision()},
		"objects": []map[string]any{{"oid": i.hash, "size": i.Size}},
	})
	if err != nil {
		return lfsObject{}, err
	}
	r.header = http.Header{"Content-Type": {lfsType}, "Accept": {lfsType}}
	var answer struct {
		Objects []lfsObject `json:"objects"`
	}
	if _, err := p.c.call(ctx, r, &answer); err != nil {
		return lfsObject{}, err
	}
	switch {
	case len(answer.Objects) != 1 || answer.Objects[0].OID != i.hash:
		return lfsObject{}, &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: the hub does not say where to upload %s", p.r.ID, i.Name)}
	case answer.Objects[0].Error != nil:
		e := answer.Objects[0].Error
		return lfsObject{}, &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: the hub does not take %s: %s (%d)", p.r.ID, i.Name, p.c.scrub(e.Message), e.Code)}
	}
	return answer.Objects[0], nil
}

// number reads a header that is a number, written as one or as a string.
func (a *lfsAction) number(key string) (int64, bool) {
	n, err := strconv.ParseInt(a.text(key), 10, 64)
	return n, err == nil && n > 0
}

func (a *lfsAction) text(key string) string {
	var s string
	if json.Unmarshal(a.Header[key], &s) == nil {
		return s
	}
	return string(a.Header[key])
}

// plain is the headers of an upload in one piece.
func (a *lfsAction) plain() http.Header {
	h := http.Header{}
	for key := range a.Header {
		h.Set(key, a.text(key))
	}
	return h
}

// sendParts uploads a file in parts, whose addresses are headers named 1, 2, …,
// and has them joined.
func (p *push) sendParts(ctx context.Context, i *item, up *lfsAction, size int64) error {
	n := int((i.Size + size - 1) / size)
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	parts := make([]part, n)
	numbers := make([]int, n)
	for k := range numbers {
		numbers[k] = k
		if up.text(strconv.Itoa(k+1)) == "" {
			return &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: the hub names no address for part %d of %d of %s", p.r.ID, k+1, n, i.Name)}
		}
	}
	err := forEach(ctx, numbers, uploadsAtOnce, func(ctx context.Context, k int) error {
		from := int64(k) * size
		etag, err := p.put(ctx, i, up.text(strconv.Itoa(k+1)), nil, from, min(size, i.Size-from))
		if err == nil && etag == "" {
			err = &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: the storage does not confirm part %d of %s", p.r.ID, k+1, i.Name)}
		}
		parts[k] = part{k + 1, etag}
		return err
	})
	if err != nil {
		return err
	}
	r, err := jsonRequest(http.MethodPost, p.c.here(up.Href), map[string]any{"oid": i.hash, "parts": parts})
	if err != nil {
		return err
	}
	r.header = http.Header{"Content-Type": {lfsType}, "Accept": {lfsType}}
	_, err = p.c.call(ctx, r, nil)
	return err
}

// errChanged: a file is not what it was when its hash was taken.
var errChanged = errors.New("the file changed while it was pushed")

// put sends n bytes of a file, from a place in it on, and returns the ETag.
func (p *push) put(ctx context.Context, i *item, address string, header http.Header, from, n int64) (etag string, err error) {
	in, closer, err := i.open()
	if err != nil {
		return "", err
	}
	defer closer.Close()
	var sent atomic.Int64 // of the try under way
	r := request{
		method: http.MethodPut, url: p.c.here(address), header: header, size: n,
		body: func() (io.Reader, error) {
			p.meter.Add(-sent.Swap(0))
			return io.TeeReader(io.NewSectionReader(in, from, n), counter(func(k int64) {
				sent.Add(k)
				p.meter.Add(k)
			})), nil
		},
	}
	res, err := p.c.do(ctx, r)
	if err != nil {
		p.meter.Add(-sent.Load())
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection is used again
	return res.Header.Get("ETag"), nil
}

// counter is told how many bytes pass.
type counter func(n int64)

func (c counter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}
