// Package hub pulls models and datasets from the Hugging Face hub into the
// hub's own cache, and pushes directories to it.
//
// The cache is the one Python's huggingface_hub keeps, used as it is found and
// left as it would leave it:
//
//	HF_HUB_CACHE/
//	  .locks/models--org--name/ETAG.lock   flock-ed while a blob is written
//	  models--org--name/
//	    blobs/ETAG                          contents; the etag is their hash
//	    blobs/ETAG.incomplete               what has arrived so far
//	    refs/main                           the commit a branch or tag stood at
//	    snapshots/COMMIT/config.json        a relative link to ../../blobs/ETAG
//	    trees/COMMIT.json                   names, sizes and hashes at a commit
//
// An etag is the SHA-256 of files in large file storage and the git blob SHA-1
// of all others. Everything that is downloaded is checked against it and
// against its size before it gets its name. An interrupted download goes on
// where it stopped, also in another process.
//
//	c, err := hub.FromEnv(os.Getenv)            // HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, …
//	repo, err := hub.ParseRepo(hub.Dataset, "allenai/ai2_arc@main")
//	info, err := c.Info(ctx, repo)              // commit; files with sizes and hashes
//	dir, err := c.Download(ctx, info, names, nil) // dir/NAME for each of names
//
// Offline, and when the hub cannot be reached, Info and Download answer from
// the cache, and say what is missing from it. Errors are *Error: they have a
// kind for errors.Is, and a remedy.
//
// What the files mean is not known here, apart from which of a model's files
// are needed to run it ([ModelFiles]).
package hub
