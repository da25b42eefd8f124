-- The part of S3 that clients need, on nginx: a delay for each request, listings, creates, and uploads in parts. GET and HEAD of a key are
-- left to nginx's own static files. `ngx.var` gives the settings of the location: delay_s, store, sink.

local ffi = require "ffi"
local C = ffi.C

ffi.cdef [[
typedef struct DIR DIR;
struct dirent { uint64_t d_ino; int64_t d_off; unsigned short d_reclen; unsigned char d_type; char d_name[256]; };
DIR *opendir(const char *name);
struct dirent *readdir(DIR *folder);
int closedir(DIR *folder);
int mkdir(const char *path, unsigned int mode);
int rmdir(const char *path);
struct s3_statx {
  uint32_t mask, blksize; uint64_t attributes; uint32_t nlink, uid, gid; uint16_t mode, pad; uint64_t ino, size, blocks,
  attributes_mask; struct { int64_t sec; uint32_t nsec; int32_t pad; } atime, btime, ctime, mtime; uint64_t spare[16];
};
int statx(int folder, const char *path, int flags, unsigned int mask, struct s3_statx *found);
]]

local AT_FDCWD, MASK_BASIC = -100, 0x7ff
local FOLDER, REGULAR = 4, 8
local IS_REGULAR = 0x8000
local KEYS_PAGE_MAX = 1000
local PART_READ_BYTES = 65536
local BEHIND = "\244\143\191\189"  -- U+10FFFD: a page begins behind all that a common prefix stands for

local _M = { listings = {} }

local function stat(path)
  local found = ffi.new("struct s3_statx")
  if C.statx(AT_FDCWD, path, 0, MASK_BASIC, found) ~= 0 or bit.band(found.mode, 0xf000) ~= IS_REGULAR then
    return nil
  end
  local size, seconds = tonumber(found.size), tonumber(found.mtime.sec)
  return { size = size, seconds = seconds, etag = string.format('"%x-%x"', seconds, size) }  -- as nginx makes it
end

local function escape(text)
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function answer(status, body)
  ngx.status = status
  ngx.header["Content-Type"] = "application/xml"
  if body then
    ngx.header["Content-Length"] = #body
    ngx.print(body)
  end
  return ngx.exit(status)
end

local function failure(status, code)
  local body = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>' .. code .. "</Code><Message>" .. code
    .. "</Message><RequestId>1</RequestId></Error>"
  return answer(status, body)
end

local function walk(folder, key, keys)
  local handle = C.opendir(folder)
  if handle == nil then return end
  while true do
    local entry = C.readdir(handle)
    if entry == nil then break end
    local name = ffi.string(entry.d_name)
    if entry.d_type == FOLDER and name ~= "." and name ~= ".." then
      walk(folder .. "/" .. name, key .. name .. "/", keys)
    elseif entry.d_type == REGULAR then
      keys[#keys + 1] = key .. name
    end
  end
  C.closedir(handle)
end

-- All keys below the folder that a prefix names, sorted; kept until something is written through this server.
local function listing(root, folder)
  local version = ngx.shared.counts:get("writes") or 0
  local place = root .. folder
  local found = _M.listings[place]
  if not found or found.version ~= version then
    local keys = {}
    walk((place:gsub("/$", "")), folder, keys)
    table.sort(keys)
    found = { version = version, keys = keys }
    _M.listings[place] = found
  end
  return found.keys
end

local function first_after(keys, after)  -- binary search: a page of a long listing costs what it holds
  local low, high = 1, #keys + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if keys[middle] > after then high = middle else low = middle + 1 end
  end
  return low
end

local function list(root, bucket)
  local query = ngx.req.get_uri_args()
  local prefix, delimiter = query.prefix or "", query.delimiter or ""
  if prefix == true then prefix = "" end
  if delimiter == true then delimiter = "" end
  local after = query["continuation-token"] or query["start-after"] or ""
  if after == true then after = "" end
  local count = math.min(tonumber(query["max-keys"]) or KEYS_PAGE_MAX, KEYS_PAGE_MAX)
  local keys = listing(root, prefix:match("^(.*/)") or "")
  local out, seen, taken, last, truncated = {}, {}, 0, nil, false
  for index = first_after(keys, after), #keys do
    local key = keys[index]
    local found = key:sub(1, #prefix) == prefix
    if not found and key > prefix then break end
    local cut = found and delimiter ~= "" and key:find(delimiter, #prefix + 1, true)
    local common = cut and key:sub(1, cut + #delimiter - 1)
    if found and not (common and (seen[common] or common <= after)) then
      if taken == count then truncated = true break end
      taken = taken + 1
      if common then
        seen[common] = true
        last = common .. BEHIND
        out[#out + 1] = "<CommonPrefixes><Prefix>" .. escape(common) .. "</Prefix></CommonPrefixes>"
      else
        local facts = stat(root .. key) or { size = 0, seconds = 0, etag = '""' }
        last = key
        out[#out + 1] = "<Contents><Key>" .. escape(key) .. "</Key><LastModified>"
          .. os.date("!%Y-%m-%dT%H:%M:%S.000Z", facts.seconds) .. "</LastModified><ETag>" .. escape(facts.etag)
          .. "</ETag><Size>" .. string.format("%d", facts.size) .. "</Size><StorageClass>STANDARD</StorageClass></Contents>"
      end
    end
  end
  local more = truncated and "<NextContinuationToken>" .. escape(last) .. "</NextContinuationToken>" or ""
  return answer(200, '<?xml version="1.0" encoding="UTF-8"?>'
    .. '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>' .. bucket .. "</Name><Prefix>"
    .. escape(prefix) .. "</Prefix><KeyCount>" .. taken .. "</KeyCount><MaxKeys>" .. count .. "</MaxKeys><IsTruncated>"
    .. tostring(truncated) .. "</IsTruncated>" .. more .. table.concat(out) .. "</ListBucketResult>")
end

local function make_folders(path)
  local at = 1
  while true do
    local slash = path:find("/", at + 1, true)
    if not slash then return end
    C.mkdir(path:sub(1, slash - 1), 493)  -- 0755; one that is there is as good
    at = slash
  end
end

-- Whether a create must fail. The header is nginx's business, too, which would answer 304 to it.
local function taken(path)
  local condition = ngx.var.http_if_none_match
  ngx.req.clear_header("If-None-Match")
  return condition == "*" and stat(path)
end

local function store_body(path)
  ngx.req.read_body()
  make_folders(path)
  local file = ngx.req.get_body_file()
  if not file then
    file = path .. ".part" .. ngx.worker.pid() .. "-" .. ngx.var.connection
    local out = assert(io.open(file, "wb"))
    out:write(ngx.req.get_body_data() or "")
    out:close()
  end
  assert(os.rename(file, path))
end

local function put(path)
  if ngx.var.sink == "1" then
    ngx.req.read_body()  -- and forget it: a client is measured, no disk
    ngx.req.clear_header("If-None-Match")
  else
    if taken(path) then return failure(412, "PreconditionFailed") end
    store_body(path)
    ngx.shared.counts:incr("writes", 1, 0)
  end
  ngx.header["ETag"] = '"1"'
  ngx.header["Content-Length"] = 0
  return ngx.exit(200)
end

-- An upload in parts: begun, and put together from the files of its parts.
local function post(root, bucket, key)
  local query = ngx.req.get_uri_args()
  local place = "<Bucket>" .. bucket .. "</Bucket><Key>" .. escape(key) .. "</Key>"
  ngx.req.read_body()
  if query.uploads then
    local id = ngx.shared.counts:incr("uploads begun", 1, 0)
    return answer(200, "<InitiateMultipartUploadResult>" .. place .. "<UploadId>" .. id
      .. "</UploadId></InitiateMultipartUploadResult>")
  end
  if not query.uploadId then return failure(501, "NotImplemented") end
  local path = root .. "/" .. bucket .. "/" .. key
  if ngx.var.sink ~= "1" then
    if taken(path) then return failure(412, "PreconditionFailed") end
    local whole = path .. ".whole" .. query.uploadId
    make_folders(path)
    local out, number = assert(io.open(whole, "wb")), 1
    while true do
      local name = root .. "/.uploads/" .. query.uploadId .. "/" .. number
      local part = io.open(name, "rb")
      if not part then break end
      for piece in function() return part:read(PART_READ_BYTES) end do out:write(piece) end
      part:close()
      os.remove(name)
      number = number + 1
    end
    out:close()
    assert(os.rename(whole, path))
    ngx.shared.counts:incr("writes", 1, 0)
  end
  return answer(200, "<CompleteMultipartUploadResult>" .. place
    .. "<ETag>&quot;1&quot;</ETag></CompleteMultipartUploadResult>")
end

function _M.serve()
  local delay = tonumber(ngx.var.delay_s)
  if delay > 0 then ngx.sleep(delay) end
  local method, root = ngx.req.get_method(), ngx.var.store
  local bucket, key = ngx.var.uri:match("^/([^/]+)/?(.*)$")
  if not bucket then return failure(404, "NoSuchBucket") end
  if method == "PUT" and key ~= "" then
    local query = ngx.req.get_uri_args()
    if query.uploadId then return put(root .. "/.uploads/" .. query.uploadId .. "/" .. query.partNumber) end
    return put(root .. "/" .. bucket .. "/" .. key)
  end
  if method == "POST" and key ~= "" then return post(root, bucket, key) end
  if method == "DELETE" and key ~= "" then
    os.remove(root .. "/" .. bucket .. "/" .. key)
    ngx.shared.counts:incr("writes", 1, 0)
    return ngx.exit(204)
  end
  if method == "GET" and key == "" then return list(root .. "/" .. bucket .. "/", bucket) end
  if method == "HEAD" and key == "" then return ngx.exit(200) end
  if method ~= "GET" and method ~= "HEAD" then return failure(501, "NotImplemented") end
  -- nginx would answer 403 to a folder, of which S3 knows nothing.
  if method == "HEAD" and bucket ~= "any" and not stat(root .. "/" .. bucket .. "/" .. key) then
    return failure(404, "NoSuchKey")
  end
end

function _M.count()
  local counts = ngx.shared.counts
  local method = ngx.req.get_method()
  if method == "GET" and ngx.var.uri:match("^/[^/]+/?$") then method = "LIST" end
  counts:incr(method, 1, 0)
  counts:incr("bytes", tonumber(ngx.var.body_bytes_sent) or 0, 0)
  if ngx.var.connection_requests == "1" then counts:incr("connections", 1, 0) end
  -- Whether a key is there is a question, not an error.
  if ngx.status >= 400 and not (method == "HEAD" and ngx.status == 404) then counts:incr("errors", 1, 0) end
end

-- GET tells the counts as lines, DELETE begins anew.
function _M.tell()
  local counts = ngx.shared.counts
  for _, name in ipairs(counts:get_keys(0)) do
    if name ~= "writes" and name ~= "uploads begun" then
      if ngx.req.get_method() == "DELETE" then counts:delete(name) else ngx.say(name, " ", counts:get(name)) end
    end
  end
  return ngx.exit(200)
end

return _M
