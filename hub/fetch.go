package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// fetch downloads a file's content into its blob. What has arrived lies in
// ETAG.incomplete, which gets its name when size and hash are right. The blob's
// lock is held.
func (d *download) fetch(ctx context.Context, f File) error {
	name := d.s.incomplete(f.ETag())
	if err := d.s.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return d.s.unsafe(path.Dir(name), err)
	}
	out, err := d.s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return d.s.unsafe(name, err)
	}
	t := &transfer{d: d, f: f, out: out}
	err = t.run(ctx)
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	switch {
	case errors.Is(err, ErrCorrupt):
		// Nothing good can come of it.
		return errors.Join(err, d.s.root.Remove(name))
	case err != nil:
		return err
	}
	return d.s.root.Rename(name, d.s.blob(f.ETag()))
}

// transfer is the download of one file.
type transfer struct {
	d    *download
	f    File
	out  *os.File
	hash hash.Hash
	at   int64 // bytes in out, all of them hashed and counted
	// etag is what the storage called the content of the first range; another
	// one since then means that the file has changed.
	etag string
}

// run downloads until the file is whole and right. A hash that is wrong after a
// resumed download earns one new beginning: what lay there may have been bad.
func (t *transfer) run(ctx context.Context) error {
	if err := t.pickUp(ctx); err != nil {
		return err
	}
	pace := newPace(t.d.c.Retry)
	for restarted := t.at == 0; ; {
		before := t.at
		err := t.attempt(ctx)
		if err == nil {
			if err = t.verify(); err == nil {
				return nil
			}
		}
		if errors.Is(err, ErrCorrupt) && !restarted {
			t.d.c.note("%s: what had arrived before is not part of the file; starting over", t.f.Name)
			restarted = true
			if err := t.reset(); err != nil {
				return err
			}
			continue
		}
		if !transient(ctx, err) {
			return err
		}
		if t.at > before {
			pace.reset()
		}
		if err := pace.wait(ctx, t.d.c, fmt.Errorf("%s: %w", t.f.Name, err)); err != nil {
			return err
		}
	}
}

// pickUp reads what an earlier download left.
func (t *transfer) pickUp(ctx context.Context) error {
	t.hash = t.f.newHash()
	info, err := t.out.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &Error{Kind: ErrUnsafe, Text: fmt.Sprintf("%s is not a file: refused", t.out.Name())}
	case info.Size() > t.f.Size:
		return t.out.Truncate(0)
	}
	buf := make([]byte, bufferSize)
	for ctx.Err() == nil {
		n, err := t.out.Read(buf)
		t.keep(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

const bufferSize = 1 << 20

// keep counts bytes that are in the file.
func (t *transfer) keep(p []byte) {
	_, _ = t.hash.Write(p) // never fails
	t.at += int64(len(p))
	t.d.meter.Add(int64(len(p)))
}

// reset throws away what has arrived.
func (t *transfer) reset() error {
	t.d.meter.Add(-t.at)
	t.at, t.etag, t.hash = 0, "", t.f.newHash()
	return t.out.Truncate(0)
}

// attempt asks for what is missing, once, and appends it. After an error
// everything that has been counted is in the file.
func (t *transfer) attempt(ctx context.Context) error {
	if t.at == t.f.Size {
		return nil
	}
	c := t.d.c
	r := request{method: http.MethodGet, url: c.Endpoint + t.d.info.Repo.resolve(t.d.info.Commit, t.f.Name), header: http.Header{}}
	if t.at > 0 {
		r.header.Set("Range", fmt.Sprintf("bytes=%d-", t.at))
		if t.etag != "" {
			r.header.Set("If-Range", t.etag)
		}
	}
	res, err := c.follow(ctx, r, t.checkHop)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := t.begin(res); err != nil {
		return err
	}
	return t.receive(res)
}

// checkHop compares what the hub says of the file, on the way to where it is
// stored, with what the listing said.
func (t *transfer) checkHop(res *http.Response) error {
	if res.StatusCode >= 400 || !sameOrigin(res.Request.URL, t.d.c.Endpoint) {
		return nil
	}
	if commit := res.Header.Get("X-Repo-Commit"); commit != "" && commit != t.d.info.Commit {
		return t.changed("it is of commit " + strconv.Quote(commit))
	}
	etag := cleanETag(res.Header.Get("X-Linked-Etag"))
	if etag == "" && res.StatusCode/100 == 2 {
		etag = cleanETag(res.Header.Get("ETag"))
	}
	if (isHex(etag, 40) || isHex(etag, 64)) && etag != t.f.ETag() {
		return t.changed("its hash is " + etag)
	}
	if size, err := strconv.ParseInt(res.Header.Get("X-Linked-Size"), 10, 64); err == nil && size != t.f.Size {
		return t.changed(fmt.Sprintf("it has %d bytes", size))
	}
	return nil
}

func cleanETag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }

// begin makes sure that an answer goes on where the file ends.
func (t *transfer) begin(res *http.Response) error {
	etag := res.Header.Get("ETag")
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" && res.StatusCode/100 == 2 {
		return t.other(fmt.Sprintf("it arrives packed (%.20q), which was not asked for", encoding))
	}
	switch {
	case res.StatusCode == http.StatusOK:
		// The whole file: the storage knows no ranges, or has another file now.
		if n := res.ContentLength; n >= 0 && n != t.f.Size {
			return t.size(res, n)
		}
		if t.at > 0 {
			if err := t.reset(); err != nil {
				return err
			}
		}
	case res.StatusCode == http.StatusPartialContent:
		if err := t.checkRange(res); err != nil {
			return err
		}
		if t.etag != "" && etag != "" && etag != t.etag {
			return t.changed("it changed between two ranges")
		}
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && t.at > 0:
		return t.changed(fmt.Sprintf("the storage has nothing after byte %d (416)", t.at))
	default:
		return t.d.c.newAnswerError(res)
	}
	if n := res.ContentLength; n >= 0 && n != t.f.Size-t.at {
		return t.size(res, t.at+n)
	}
	if !strings.HasPrefix(etag, "W/") {
		t.etag = etag
	}
	return nil
}

// checkRange reads Content-Range: bytes 100-199/200.
func (t *transfer) checkRange(res *http.Response) error {
	var from, to, size int64
	value := res.Header.Get("Content-Range")
	if n, _ := fmt.Sscanf(value, "bytes %d-%d/%d", &from, &to, &size); n < 2 || from != t.at {
		return t.changed(fmt.Sprintf("the storage sends range %q where byte %d was asked for", value, t.at))
	} else if n == 3 && size != t.f.Size {
		return t.size(res, size)
	}
	return nil
}

// otherAnswer is what is not the file: the page of a proxy, for one. It is no
// reason to throw away what has arrived, and none to ask again: the next answer
// would be the same.
type otherAnswer struct{ text string }

func (e *otherAnswer) Error() string { return e.text }

func (t *transfer) other(what string) error { return &otherAnswer{t.f.Name + ": " + what} }

// size: another one is announced than in the listing.
func (t *transfer) size(res *http.Response, have int64) error {
	if what := notTheHubs(res.Header); what != "" {
		return t.other(fmt.Sprintf("%s of %d bytes arrives, where the listing says %d", what, have, t.f.Size))
	}
	return t.other(fmt.Sprintf("%d bytes are announced, where the listing says %d", have, t.f.Size))
}

// notTheHubs says what an answer is that no hub gives: a page, something packed;
// else "".
func notTheHubs(h http.Header) string {
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	encoding := h.Get("Content-Encoding")
	switch kind = strings.TrimSpace(kind); {
	case kind == "text/html":
		return "a web page (text/html)"
	case encoding != "" && encoding != "identity":
		return fmt.Sprintf("something packed (%.20q)", encoding)
	}
	return ""
}

// changed: the file is not, or no longer, what the listing said.
func (t *transfer) changed(how string) error {
	return &Error{Kind: ErrCorrupt, Text: fmt.Sprintf("%s: %s is not what the listing said: %s", t.d.info.Repo, t.f.Name, how),
		Remedy: "run the same command again; if it happens again, the hub or a proxy in between is at fault"}
}

// receive appends a body to the file, and looks for one byte more than wanted.
func (t *transfer) receive(res *http.Response) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := res.Body.Read(buf)
		if int64(n) > t.f.Size-t.at {
			return t.changed(fmt.Sprintf("more than its %d bytes arrive", t.f.Size))
		}
		if wrote, err := t.out.WriteAt(buf[:n], t.at); err != nil {
			t.keep(buf[:wrote])
			return err
		}
		t.keep(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if t.at < t.f.Size && slices.Contains(res.TransferEncoding, "chunked") {
		// Its end was sent: the line did not break.
		if what := notTheHubs(res.Header); what != "" {
			return errors.Join(t.size(res, t.at), t.reset())
		}
		return t.other(fmt.Sprintf("its end arrives after %d bytes, early: the listing says %d", t.at, t.f.Size))
	}
	if t.at < t.f.Size {
		return &connectionError{host: "the storage", err: fmt.Errorf("it ended %d bytes early", t.f.Size-t.at)}
	}
	return nil
}

// verify compares size and hash.
func (t *transfer) verify() error {
	info, err := t.out.Stat()
	if err != nil {
		return err
	}
	if info.Size() != t.f.Size {
		return t.changed(fmt.Sprintf("it has %d bytes instead of %d", info.Size(), t.f.Size))
	}
	if sum := hex.EncodeToString(t.hash.Sum(nil)); sum != t.f.ETag() {
		return t.changed(fmt.Sprintf("its hash is %s instead of %s", sum, t.f.ETag()))
	}
	return nil
}

// newHash begins the hash that the file's etag is.
func (f File) newHash() hash.Hash {
	if f.SHA256 != "" {
		return sha256.New()
	}
	return newBlobHash(f.Size)
}

// newBlobHash begins git's hash of a blob: SHA-1 over "blob SIZE\0" and the
// content. Git chose it; it is not what keeps a hostile server out.
func newBlobHash(size int64) hash.Hash {
	h := sha1.New()
	_, _ = fmt.Fprintf(h, "blob %d\x00", size) // never fails
	return h
}
