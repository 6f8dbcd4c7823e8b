"""The table of stamps in Redis: one string, its layout, and the scripts that change it.

::

    bytes    0..64    head: version, term, epoch, born (8 each), primary (32 hexadecimal characters)
    bytes   64..      a record of 32 bytes for each of ``SLOTS`` slots:
                      number, token, until, dirty (8 each)

All numbers are unsigned, big-endian, below 2^53 (Lua's are doubles); times are those of the Redis
server, in milliseconds.

Names are hashed to slots. A slot's ``number`` is even while what its names stand for is stable, and
odd while it is being changed, by the writer whose ``token`` stands there. The writer loses its lock
when ``until`` has passed without a renewal; what it does may still take effect until ``rest``
milliseconds later. If another writer takes the slot before that, it notes that time in ``dirty``:
its own end then leaves the slot odd. What is odd and can have no effect any more is made even by
readers (``REPAIR``), under a new number.

**One string, and nothing beside it**, so that it can only be lost as a whole: by FLUSHALL, by
eviction, by a restart, by a fail-over. Whoever makes it anew draws a new ``epoch``; every read
brings the epoch along, so nobody can take the numbers of one table for those of another. It also
bounds what Redis must hold for an installation: 2 MiB, and a key for each upload under way.
"""

from typing import Final

SLOTS: Final = 65_536
"""Names are hashed to so many slots. Two names that share one invalidate each other's memories now
and then, and their writers wait for each other; nothing else comes of it."""

HEAD: Final = 64
RECORD: Final = 32
SIZE: Final = HEAD + SLOTS * RECORD
VERSION: Final = 1

BORN: Final = 24
"""Where the time of the table's making is, in bytes."""

EPOCH_BIT: Final = 16 * 8
"""Where the epoch is, in bits, as ``BITFIELD`` counts."""


def number_bit(slot: int) -> int:
    """Where a slot's number is, in bits."""
    return (HEAD + slot * RECORD) * 8


# Scripts may run when the memory is full: they need next to none, and whoever filled it is not
# helped by pushes that fail. The flag is of Redis 7.0.
_COMMON: Final = """#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function record(slot)
  local at = 64 + slot * 32
  return struct.unpack('>I8I8I8I8', redis.call('GETRANGE', KEYS[1], at, at + 31))
end
local function set(slot, number, token, till, dirty)
  redis.call('SETRANGE', KEYS[1], 64 + slot * 32,
             struct.pack('>I8I8I8I8', number, token, till, dirty))
end
local function head()
  local text = redis.call('GETRANGE', KEYS[1], 0, 63)
  if #text < 64 then return 0, 0, 0, 0, '' end
  return struct.unpack('>I8I8I8I8c32', text)
end
"""

OPEN: Final = (
    _COMMON
    + """
-- version, term, primary, epoch, size, seconds to live, found ('1': make it where it is missing)
local version, term, epoch, born, primary = head()
if term > tonumber(ARGV[2]) then return {'later', 0, 0} end
if version ~= tonumber(ARGV[1]) or term ~= tonumber(ARGV[2]) or primary ~= ARGV[3] then
  if ARGV[7] ~= '1' then return {'missing', 0, 0} end
  redis.call('DEL', KEYS[1])
  redis.call('SETRANGE', KEYS[1], tonumber(ARGV[5]) - 1, string.char(0))
  redis.call('SETRANGE', KEYS[1], 0, struct.pack('>I8I8I8I8c32', tonumber(ARGV[1]),
             tonumber(ARGV[2]), tonumber(ARGV[4]), now, ARGV[3]))
  epoch, born = tonumber(ARGV[4]), now
end
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[6]))
return {'open', epoch, now - born}
"""
)
"""Find the table of this term of this primary, or make it; give its epoch and age.

One of a later term stays: who asks is behind the times.
"""

BEGIN: Final = (
    _COMMON
    + """
-- epoch, token, lease, rest, slots…
local _, _, epoch = head()
if epoch ~= tonumber(ARGV[1]) then return {'lost', 0} end
local token, rest = tonumber(ARGV[2]), tonumber(ARGV[4])
local held = 0
for i = 5, #ARGV do
  local number, holder, till = record(ARGV[i])
  if number % 2 == 1 and till > now and holder ~= token then held = math.max(held, till - now) end
end
if held > 0 then return {'held', held} end
for i = 5, #ARGV do
  local number, _, till, dirty = record(ARGV[i])
  if number % 2 == 1 then
    dirty = math.max(dirty, till + rest)
  else
    number, dirty = number + 1, 0
  end
  set(ARGV[i], number, token, now + tonumber(ARGV[3]), dirty)
end
return {'yours', 0}
"""
)
"""Lock all slots and make them odd, or, if another holds one, none."""

RENEW: Final = (
    _COMMON
    + """
-- token, lease, slots…
if redis.call('STRLEN', KEYS[1]) < 64 then return 0 end
local kept = 0
for i = 3, #ARGV do
  local number, holder, till, dirty = record(ARGV[i])
  if number % 2 == 1 and holder == tonumber(ARGV[1]) then
    set(ARGV[i], number, holder, now + tonumber(ARGV[2]), dirty)
    kept = kept + 1
  end
end
return kept
"""
)
"""Keep the locks of those slots that the token still has; give their number."""

END: Final = (
    _COMMON
    + """
-- token, slots…
if redis.call('STRLEN', KEYS[1]) < 64 then return 0 end
for i = 2, #ARGV do
  local number, holder, _, dirty = record(ARGV[i])
  if number % 2 == 0 then
    set(ARGV[i], number + 2, 0, 0, 0)
  elseif holder == tonumber(ARGV[1]) then
    if dirty > now then
      set(ARGV[i], number, 0, 0, dirty)
    else
      set(ARGV[i], number + 1, 0, 0, 0)
    end
  end
end
return 1
"""
)
"""Let the slots go under new numbers, also those whose lock was lost meanwhile.

One that another writer holds stays odd: its own end gives it a new number.
"""

REPAIR: Final = (
    _COMMON
    + """
-- rest, slots…
if redis.call('STRLEN', KEYS[1]) < 64 then return 0 end
for i = 2, #ARGV do
  local number, _, till, dirty = record(ARGV[i])
  if number % 2 == 1 and math.max(till + tonumber(ARGV[1]), dirty) <= now then
    set(ARGV[i], number + 1, 0, 0, 0)
  end
end
return 1
"""
)
"""Make slots even whose writers can have no effect any more."""

TAKE: Final = """#!lua flags=allow-oom
-- lease, fence; token, milliseconds
local left = redis.call('PTTL', KEYS[1])
if left > 0 then return {'held', left, '0'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local time = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, time[1] * 1000000 + time[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'EX', 86400)
return {'yours', 0, string.format('%.0f', fence)}
"""
"""Take a lease if nobody has it; the fence is the time in microseconds, made to grow."""

KEEP: Final = """#!lua flags=allow-oom
-- lease; token, milliseconds
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Keep a lease, or take it up again if it was lost and nobody has it."""

DROP: Final = """#!lua flags=allow-oom
-- lease; token
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Let a lease go, if it still is the token's."""

NAMES: Final = {
    OPEN: "open",
    BEGIN: "begin",
    RENEW: "renew",
    END: "end",
    REPAIR: "repair",
    TAKE: "take",
    KEEP: "keep",
    DROP: "drop",
}
"""The scripts by names for people."""
