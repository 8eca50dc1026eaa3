import { isIP } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Addresses from "../../src/server/addresses.ts"

describe("an address", () => {
  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["::ffff:127.0.0.1", "127.0.0.1"],
    ["::FFFF:7F00:1", "127.0.0.1"],
    ["0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1"],
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["::1", "::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
    ["", undefined],
    ["localhost", undefined],
    ["127.0.0.01", undefined],
    ["1.2.3", undefined],
    ["[::1]", undefined],
    [undefined, undefined],
  ])("%s is plainly %s", (address, plain) => {
    expect(Addresses.plain(address)).toBe(plain)
  })
})

describe("trust", () => {
  it.each([
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "::10.0.0.1"]],
    ["10.1.2.3/8", ["10.0.0.0"], ["11.0.0.0"]],
    ["192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]],
    ["192.0.2.0/31", ["192.0.2.0", "192.0.2.1"], ["192.0.2.2"]],
    ["0.0.0.0/0", ["1.2.3.4", "::ffff:1.2.3.4"], ["::1", "2001:db8::1"]],
    ["2001:db8::/32", ["2001:db8::", "2001:DB8:ffff::1"], ["2001:db9::", "10.0.0.1"]],
    ["2001:db8::1", ["2001:db8:0:0:0:0:0:1"], ["2001:db8::2"]],
    ["::/0", ["2001:db8::1", "::1"], ["1.2.3.4", "::ffff:1.2.3.4"]],
    ["::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0"]],
    ["::ffff:10.0.0.7", ["10.0.0.7"], ["10.0.0.8"]],
    ["loopback", ["127.0.0.1", "127.1.2.3", "::1"], ["128.0.0.1", "::2"]],
    ["linklocal", ["169.254.1.1", "fe80::1", "fe80::1%eth0"], ["169.255.0.0", "fec0::"]],
    ["uniquelocal", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1"], ["172.32.0.0", "fe00::"]],
  ])("in %s", (range, inside, outside) => {
    const trusts = Addresses.trust([range])
    for (const address of inside) expect([address, trusts(address)]).toEqual([address, true])
    for (const address of outside) expect([address, trusts(address)]).toEqual([address, false])
  })

  it("is in nobody where nobody is named, and in nothing that is no address", () => {
    expect(Addresses.trust([])("127.0.0.1")).toBe(false)
    for (const text of ["", "localhost", "10.0.0.0/8", "unknown"])
      expect(Addresses.trust(["0.0.0.0/0"])(text)).toBe(false)
  })

  it.each([
    "",
    "localhost",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/",
    "10.0.0/8",
    "::/129",
    "::ffff:10.0.0.0/95",
    "fe80::1%eth0",
    "/8",
    "private",
  ])("cannot be in %j", (range) => {
    expect(() => Addresses.trust(["127.0.0.1", range])).toThrow(RangeError)
  })
})

const proxies = ["10.0.0.0/8", "2001:db8:1::/48"]

describe("X-Forwarded-For", () => {
  const resolve = Addresses.resolver(proxies)
  const from = (value: string | ReadonlyArray<string> | undefined, peer: string | undefined = "10.0.0.1") =>
    resolve(peer, { "x-forwarded-for": value as string })

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1, 10.0.0.2", "192.0.2.1"],
    ["192.0.2.1,10.0.0.3,2001:db8:1::5", "192.0.2.1"],
    ["made up, 192.0.2.1", "192.0.2.1"],
    ["127.0.0.1, 192.0.2.1, 10.0.0.2", "192.0.2.1"],
    ["192.0.2.1:4711", "192.0.2.1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["[2001:db8::1]:4711", "2001:db8::1"],
    ['"[2001:db8::1]:4711"', "2001:db8::1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["  192.0.2.1\t,  10.0.0.2 , ", "192.0.2.1"],
    ["192.0.2.1, , ,", "192.0.2.1"],
    // All are trusted: the farthest.
    ["10.0.0.9, 10.0.0.2", "10.0.0.9"],
    // The last that is known.
    ["192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"],
    ["192.0.2.1, _hidden", "10.0.0.1"],
    ["192.0.2.1, 192.0.2.300", "10.0.0.1"],
    ["192.0.2.1, fe80::1%eth0", "10.0.0.1"],
    ["192.0.2.1, [2001:db8::1", "10.0.0.1"],
    ["192.0.2.1, 192.0.2.1:123456", "10.0.0.1"],
    ["192.0.2.1, 192.0.2.1:x", "10.0.0.1"],
    ["192.0.2.1, 10.0.0.2\r\n192.0.2.9", "10.0.0.1"],
    ["", "10.0.0.1"],
    [",,,", "10.0.0.1"],
    [undefined, "10.0.0.1"],
  ])("%j comes from %s", (value, address) => {
    expect(from(value)).toBe(address)
  })

  it("is believed of a trusted proxy only", () => {
    expect(from("192.0.2.1", "192.0.2.7")).toBe("192.0.2.7")
    expect(from("192.0.2.1", "::ffff:192.0.2.7")).toBe("192.0.2.7")
    expect(from("192.0.2.1", "::ffff:10.0.0.1")).toBe("192.0.2.1")
    expect(from("192.0.2.1", "2001:db8:1::1")).toBe("192.0.2.1")
    expect(resolve(undefined, { "x-forwarded-for": "192.0.2.1" })).toBeUndefined()
    expect(Addresses.resolver()("10.0.0.1", { "x-forwarded-for": "192.0.2.1" })).toBe("10.0.0.1")
  })

  it("may come in several lines", () => {
    expect(from(["made up", "192.0.2.1", "10.0.0.2"])).toBe("192.0.2.1")
  })

  it("is not looked at where the proxies write Forwarded, nor the other way round", () => {
    const headers = { "x-forwarded-for": "192.0.2.1", forwarded: "for=192.0.2.2" }
    expect(resolve("10.0.0.1", headers)).toBe("192.0.2.1")
    expect(Addresses.resolver({ from: proxies })("10.0.0.1", headers)).toBe("192.0.2.1")
    expect(Addresses.resolver({ from: proxies, header: "forwarded" })("10.0.0.1", headers)).toBe("192.0.2.2")
  })

  it("or Forwarded it must be", () => {
    expect(() => Addresses.resolver({ from: proxies, header: "x-real-ip" as "forwarded" })).toThrow(
      'trustProxy.header must be one of x-forwarded-for, forwarded; got "x-real-ip"',
    )
  })
})

describe("Forwarded", () => {
  const resolve = Addresses.resolver({ from: proxies, header: "forwarded" })
  const from = (value: string) => resolve("10.0.0.1", { forwarded: value })

  it.each([
    ["for=192.0.2.1", "192.0.2.1"],
    ["for=192.0.2.1;proto=http;by=203.0.113.43", "192.0.2.1"],
    ['proto=https; For="192.0.2.1:4711" ; by=_proxy', "192.0.2.1"],
    ['FOR="[2001:DB8::1]:4711"', "2001:db8::1"],
    ['for="[2001:db8::1]"', "2001:db8::1"],
    ['for="2001:db8::1"', "2001:db8::1"],
    ["for=[2001:db8::1]:80", "2001:db8::1"],
    ["for=192.0.2.1, for=10.0.0.2", "192.0.2.1"],
    ['for="192.0.2.1:_port", for="[2001:db8:1::2]"', "192.0.2.1"],
    ['for="19\\2.0.2.1"', "192.0.2.1"],
    // What a client makes up stays its own.
    ['for="never ending, for=192.0.2.1', "192.0.2.1"],
    ['for=127.0.0.1;by="a,b", for=192.0.2.1', "192.0.2.1"],
    ['for="\\", for=192.0.2.1', "192.0.2.1"],
    ['for=";;;=,,," garbage, for=192.0.2.1;host="a,b\\",c"', "192.0.2.1"],
    // The last that is known.
    ["for=192.0.2.1, for=unknown, for=10.0.0.2", "10.0.0.2"],
    ["for=192.0.2.1, for=_hidden", "10.0.0.1"],
    ['for=192.0.2.1, for="_SEVKISEK"', "10.0.0.1"],
    ["for=192.0.2.1, by=10.0.0.2", "10.0.0.1"],
    ["for=192.0.2.1;for=192.0.2.2", "10.0.0.1"],
    ["for=192.0.2.1 for=192.0.2.2", "10.0.0.1"],
    ["for = 192.0.2.1", "10.0.0.1"],
    ['for="192.0.2.1', "10.0.0.1"],
    ['for=192.0.2.1"', "10.0.0.1"],
    ["192.0.2.1", "10.0.0.1"],
    ["for=", "10.0.0.1"],
    ["", "10.0.0.1"],
  ])("%j comes from %s", (value, address) => {
    expect(from(value)).toBe(address)
  })
})

describe("whatever a client writes", () => {
  const parts = fc.constantFrom(
    ...[
      "for=",
      "by=",
      '"',
      "\\",
      ",",
      ";",
      "=",
      " ",
      "10.0.0.2",
      "192.0.2.66",
      "[",
      "]",
      "::1",
      ":80",
      "unknown",
      "_x",
      "\0",
    ],
  )
  const written = fc.oneof(
    fc.array(parts, { maxLength: 30 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary" }),
  )

  it("what the proxies add is what counts", () => {
    const xForwardedFor = Addresses.resolver(proxies)
    const forwarded = Addresses.resolver({ from: proxies, header: "forwarded" })
    fc.assert(
      fc.property(written, (text) => {
        const added = {
          "x-forwarded-for": `${text}, 192.0.2.1, 10.0.0.2`,
          forwarded: `${text}, for="192.0.2.1:5", for=10.0.0.2`,
        }
        expect(xForwardedFor("10.0.0.1", added)).toBe("192.0.2.1")
        expect(forwarded("10.0.0.1", added)).toBe("192.0.2.1")
      }),
      { numRuns: 2_000 },
    )
  })

  it("an address comes out, and in time", () => {
    const all = Addresses.resolver({ from: ["0.0.0.0/0", "::/0"], header: "forwarded" })
    const xForwardedFor = Addresses.resolver(["0.0.0.0/0", "::/0"])
    fc.assert(
      fc.property(written, (text) => {
        expect(isIP(all("10.0.0.1", { forwarded: text }) ?? "")).not.toBe(0)
        expect(isIP(xForwardedFor("10.0.0.1", { "x-forwarded-for": text }) ?? "")).not.toBe(0)
      }),
    )
    for (const attack of [",", " ,", '"', '\\"', "\\", "10.0.0.1,", "for=10.0.0.1,", 'for="', "a=b;", "[", " "]) {
      const text = attack.repeat(2 ** 16 / attack.length)
      const startedAt = performance.now()
      all("10.0.0.1", { forwarded: text })
      xForwardedFor("10.0.0.1", { "x-forwarded-for": text })
      expect([attack, performance.now() - startedAt < 500]).toEqual([attack, true])
    }
  })
})
