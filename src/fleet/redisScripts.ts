/**
 * What Redis does in one step. Times are microseconds of its own clock; numbers that do not fit a Lua format travel as text.
 *
 * Keys: `stations`, a hash of `<epoch> <since> <node> <protocol>` by identity; `nodes`, a sorted set of leases by their end; `epoch`, the
 * last one; `of:<node>`, the set of a node's identities. Channels: `inbox:<node>`, `changes`.
 */

/** What every script begins with: its arguments are the prefix, the node's id, and its own. */
const head = `
local prefix, me = ARGV[1], ARGV[2]
local stations, nodes = prefix .. ':stations', prefix .. ':nodes'
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local text = function(n) return string.format('%.0f', n) end
local listeners = function(channel) return tonumber(redis.call('PUBSUB', 'NUMSUB', prefix .. channel)[2]) end
local entry = function(identity)
  local value = redis.call('HGET', stations, identity)
  if not value then return nil end
  return string.match(value, '^(%S+) (%S+) (%S+) (.*)$')
end
local changes = {}
local tell = function()
  if #changes > 0 and listeners(':changes') > 0 then
    redis.call('PUBLISH', prefix .. ':changes', cjson.encode(changes))
  end
end
`

/** Arguments: identity, age and time of connecting in microseconds, protocol of each. Answers with six texts for each. */
export const claim = `${head}
local last = tonumber(redis.call('GET', prefix .. ':epoch') or '0')
local epoch = math.max(last, now - 1)
local alive = {}
local leased = function(node)
  if alive[node] == nil then alive[node] = (tonumber(redis.call('ZSCORE', nodes, node) or '0')) > now end
  return alive[node]
end
local answers = {}
local answer = function(...) for _, value in ipairs({...}) do answers[#answers + 1] = value end end
local newer = function(its, node, since) return its <= now and (its > since or (its == since and node > me)) end
for i = 3, #ARGV, 4 do
  local identity, protocol = ARGV[i], ARGV[i + 3]
  local since = math.min(now - tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]) or math.huge)
  local itsEpoch, itsSince, node, itsProtocol = entry(identity)
  local others = itsEpoch and node ~= me
  if others and leased(node) and newer(tonumber(itsSince), node, since) then
    answer('newer', itsEpoch, itsSince, itsEpoch, node, itsProtocol)
  else
    epoch = epoch + 1
    redis.call('HSET', stations, identity, text(epoch) .. ' ' .. text(since) .. ' ' .. me .. ' ' .. protocol)
    redis.call('SADD', prefix .. ':of:' .. me, identity)
    if others then
      redis.call('SREM', prefix .. ':of:' .. node, identity)
      answer('owned', text(epoch), text(since), itsEpoch, node, itsProtocol)
    else
      answer('owned', text(epoch), text(since), '', '', '')
    end
    changes[#changes + 1] = {'+', identity, text(epoch), me, protocol}
  end
end
redis.call('SET', prefix .. ':epoch', text(epoch))
tell()
return answers
`

/** Arguments: identity and epoch of each, an empty epoch for whatever is this node's. */
export const release = `${head}
for i = 3, #ARGV, 2 do
  local identity, epoch = ARGV[i], ARGV[i + 1]
  local itsEpoch, _, node = entry(identity)
  if itsEpoch and (epoch == itsEpoch or (epoch == '' and node == me)) then
    redis.call('HDEL', stations, identity)
    redis.call('SREM', prefix .. ':of:' .. node, identity)
    changes[#changes + 1] = {'-', identity, itsEpoch}
  end
end
tell()
`

/** Argument: the lease in microseconds. Answers with the time, whether the lease had lapsed, and the nodes that are alive. */
export const beat = `${head}
local ends = tonumber(redis.call('ZSCORE', nodes, me) or '0')
redis.call('ZADD', nodes, text(now + tonumber(ARGV[3])), me)
return {text(now), ends > now and '0' or '1', unpack(redis.call('ZRANGEBYSCORE', nodes, '(' .. text(now), '+inf'))}
`

/** Argument: a node. Answers whether its lease is valid, and whether somebody listens to its inbox. */
export const presence = `${head}
local ends = tonumber(redis.call('ZSCORE', nodes, ARGV[3]) or '0')
return {ends > now and 1 or 0, listeners(':inbox:' .. ARGV[3]) > 0 and 1 or 0}
`

/** Argument: a node. A lease that has ended is kept until the node's entries are swept. */
export const bury = `${head}
if listeners(':inbox:' .. ARGV[3]) > 0 then return 0 end
redis.call('ZADD', nodes, 'XX', 0, ARGV[3])
return 1
`

/** Argument: how many entries at most. Answers how many were deleted, and whether there may be more. */
export const sweep = `${head}
local node = redis.call('ZRANGEBYSCORE', nodes, '-inf', text(now), 'LIMIT', 0, 1)[1]
if not node then return {0, 0} end
local most, key = tonumber(ARGV[3]), prefix .. ':of:' .. node
local identities = redis.call('SPOP', key, most)
for _, identity in ipairs(identities) do
  local epoch, _, owner = entry(identity)
  if epoch and owner == node then
    redis.call('HDEL', stations, identity)
    changes[#changes + 1] = {'-', identity, epoch}
  end
end
if redis.call('EXISTS', key) == 0 then redis.call('ZREM', nodes, node) end
tell()
return {#changes, 1}
`

/** The node leaves: what it has not released is swept. */
export const leave = `${head}
if redis.call('EXISTS', prefix .. ':of:' .. me) == 0 then
  redis.call('ZREM', nodes, me)
else
  redis.call('ZADD', nodes, 'XX', 0, me)
end
`
