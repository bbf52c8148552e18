package hubtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Name, Organization, Type, Visibility string
		Private                              bool
	}
	if r.Header.Get("Authorization") == "" {
		fail(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Name == "" {
		fail(w, http.StatusBadRequest, "", "name is required")
		return
	}
	if q.Organization == "" {
		q.Organization = User
	}
	if q.Organization != User {
		fail(w, http.StatusForbidden, "", `You don't have the rights to create a `+q.Type+` under the namespace "`+q.Organization+`".`)
		return
	}
	id, key := q.Organization+"/"+q.Name, q.Type+"/"+q.Organization+"/"+q.Name
	if s.repos[key] != nil {
		fail(w, http.StatusConflict, "", "You already created this "+q.Type+" repo")
		return
	}
	s.repos[key] = &Repo{Kind: q.Type, ID: id, Private: q.Private || q.Visibility == "private", heads: map[string]string{}, commits: map[string]map[string][]byte{}}
	s.commit(s.repos[key], "main", map[string][]byte{".gitattributes": []byte("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")})
	answer(w, http.StatusOK, map[string]string{"url": s.URL + "/" + id})
}

func (s *Server) preupload(w http.ResponseWriter, r *http.Request, there map[string][]byte) {
	var q struct {
		Files []struct {
			Path, Sample string
			Size         int
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		fail(w, http.StatusBadRequest, "", err.Error())
		return
	}
	files := []map[string]any{}
	for _, f := range q.Files {
		if sample, err := base64.StdEncoding.DecodeString(f.Sample); err != nil || len(sample) != min(f.Size, 512) {
			fail(w, http.StatusBadRequest, "", "sample is not valid")
			return
		}
		mode := "regular"
		if s.isLFS(f.Size) || strings.HasSuffix(f.Path, ".safetensors") {
			mode = "lfs"
		}
		e := map[string]any{"path": f.Path, "uploadMode": mode, "shouldIgnore": false}
		if content, ok := there[f.Path]; ok {
			e["oid"] = BlobSHA1(content)
			if mode == "lfs" {
				e["oid"] = SHA256(content)
			}
		}
		files = append(files, e)
	}
	answer(w, http.StatusOK, map[string]any{"files": files})
}

// batch is the LFS batch API: what to upload, and where to.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Operation string
		Transfers []string
		Objects   []struct {
			OID  string
			Size int
		}
	}
	if r.Header.Get("Authorization") == "" || json.NewDecoder(r.Body).Decode(&q) != nil || q.Operation != "upload" {
		fail(w, http.StatusUnauthorized, "", "not allowed")
		return
	}
	partSize := s.PartSize
	if partSize == 0 {
		partSize = 4000
	}
	objects := []map[string]any{}
	for _, o := range q.Objects {
		e := map[string]any{"oid": o.OID, "size": o.Size}
		if _, there := s.objects[o.OID]; !there {
			e["actions"] = s.actions(o.OID, o.Size, partSize, slices.Contains(q.Transfers, "multipart"))
		}
		objects = append(objects, e)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	answer(w, http.StatusOK, map[string]any{"transfer": "multipart", "objects": objects})
}

func (s *Server) actions(oid string, size, partSize int, multipart bool) map[string]any {
	verify := map[string]any{"href": s.URL + "/lfs/verify/" + oid, "header": map[string]string{}}
	if size <= partSize || !multipart {
		return map[string]any{
			"upload": map[string]any{"href": s.Storage + "/objects/" + oid + "?Signature=a-secret-signature"},
			"verify": verify,
		}
	}
	header := map[string]string{"chunk_size": strconv.Itoa(partSize)}
	id := fmt.Sprintf("%s-%d", oid, len(s.parts))
	s.parts[id] = map[int][]byte{}
	for i := 1; (i-1)*partSize < size; i++ {
		header[strconv.Itoa(i)] = fmt.Sprintf("%s/parts/%s/%d?Signature=a-secret-signature", s.Storage, id, i)
	}
	return map[string]any{
		"upload": map[string]any{"href": s.URL + "/lfs/complete/" + id + "?Signature=a-secret-signature", "header": header},
		"verify": verify,
	}
}

// upload takes an object, or a part of one.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, parts []string) {
	content, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength < 0 {
		http.Error(w, "MissingContentLength", http.StatusLengthRequired)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case parts[0] == "objects" && SHA256(content) == parts[1]:
		s.objects[parts[1]] = content
	case parts[0] == "parts" && s.parts[parts[1]] != nil:
		n, _ := strconv.Atoi(parts[2])
		s.parts[parts[1]][n] = content
	default:
		http.Error(w, "BadDigest", http.StatusBadRequest)
		return
	}
	w.Header().Set("ETag", `"`+BlobSHA1(content)+`"`)
}

// lfs joins the parts of an upload, and verifies one.
func (s *Server) lfs(w http.ResponseWriter, r *http.Request, rest []string) {
	if rest[0] == "verify" {
		if _, ok := s.objects[rest[1]]; !ok || r.Header.Get("Authorization") == "" {
			fail(w, http.StatusNotFound, "", "object not found")
			return
		}
		answer(w, http.StatusOK, map[string]string{})
		return
	}
	var q struct {
		OID   string
		Parts []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		fail(w, http.StatusBadRequest, "", err.Error())
		return
	}
	var whole []byte
	for i, p := range q.Parts {
		part, ok := s.parts[rest[1]][p.PartNumber]
		if !ok || p.PartNumber != i+1 || p.ETag != `"`+BlobSHA1(part)+`"` {
			fail(w, http.StatusBadRequest, "", fmt.Sprintf("InvalidPart %d", p.PartNumber))
			return
		}
		whole = append(whole, part...)
	}
	if SHA256(whole) != q.OID {
		fail(w, http.StatusBadRequest, "", "the parts are not the object")
		return
	}
	s.objects[q.OID] = whole
	answer(w, http.StatusOK, map[string]string{})
}

// push is the commit API: one JSON object a line.
func (s *Server) push(w http.ResponseWriter, r *http.Request, repo *Repo, branch string) {
	if r.Header.Get("Authorization") == "" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		fail(w, http.StatusBadRequest, "", "want application/x-ndjson from somebody known")
		return
	}
	files := maps.Clone(repo.commits[repo.heads[branch]])
	in := bufio.NewScanner(r.Body)
	in.Buffer(nil, 1<<26)
	for in.Scan() {
		var line struct {
			Key   string
			Value struct{ Summary, ParentCommit, Path, Content, Encoding, Algo, OID string }
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			fail(w, http.StatusBadRequest, "", err.Error())
			return
		}
		switch v := line.Value; line.Key {
		case "header":
			if v.ParentCommit != "" && v.ParentCommit != repo.heads[branch] {
				fail(w, http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again.")
				return
			}
		case "file":
			files[v.Path], _ = base64.StdEncoding.DecodeString(v.Content)
		case "lfsFile":
			object, ok := s.objects[v.OID]
			if !ok {
				fail(w, http.StatusBadRequest, "", "LFS pointer pointed to a file that does not exist: "+v.Path)
				return
			}
			files[v.Path] = object
		case "deletedFile":
			delete(files, v.Path)
		}
	}
	sha := s.commit(repo, branch, files)
	answer(w, http.StatusOK, map[string]any{"success": true, "commitOid": sha, "commitUrl": s.URL + "/" + repo.ID + "/commit/" + sha})
}
