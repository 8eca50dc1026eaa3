import { expect, it } from "@effect/vitest"
import { connectionUrl } from "../src/Client.ts"

it.each([
  ["ws://localhost:3000", "CP001", "ws://localhost:3000/CP001"],
  ["ws://localhost:3000/", "CP001", "ws://localhost:3000/CP001"],
  ["wss://csms.example/ocpp", "CP001", "wss://csms.example/ocpp/CP001"],
  ["wss://csms.example/ocpp/", "CP001", "wss://csms.example/ocpp/CP001"],
  ["WS://LOCALHOST/Ocpp", "CP001", "ws://localhost/Ocpp/CP001"],
  ["ws://[::1]:9000/a/b", "CP001", "ws://[::1]:9000/a/b/CP001"],
  ["ws://localhost/ocpp#fragment", "CP001", "ws://localhost/ocpp/CP001"],
])("%s and %s make %s", (endpoint, identity, expected) => {
  expect(connectionUrl(endpoint, identity)).toBe(expected)
})

it.each([
  ["CP 001", "CP%20001"],
  ["AA:BB:CC", "AA%3ABB%3ACC"],
  ["a/b", "a%2Fb"],
  ["../admin", "..%2Fadmin"],
  ["who?x=1#y", "who%3Fx%3D1%23y"],
  ["100%", "100%25"],
  ["%41", "%2541"],
  ["Réunion 😀", "R%C3%A9union%20%F0%9F%98%80"],
  ["a\\b", "a%5Cb"],
  ["\r\n", "%0D%0A"],
])("identity %j is one path segment, %s", (identity, segment) => {
  const url = connectionUrl("ws://localhost/ocpp", identity)
  expect(url).toBe(`ws://localhost/ocpp/${segment}`)
  expect(decodeURIComponent(new URL(url).pathname.split("/").at(-1)!)).toBe(identity)
})

it.each([
  ["an object", { token: "a b&c", v: "1" }, "ws://localhost/CP001?token=a+b%26c&v=1"],
  ["a string", "token=x&v=1", "ws://localhost/CP001?token=x&v=1"],
  ["a string with its question mark", "?token=x", "ws://localhost/CP001?token=x"],
  ["an empty string", "", "ws://localhost/CP001"],
  ["an empty object", {}, "ws://localhost/CP001"],
  ["nothing", undefined, "ws://localhost/CP001"],
])("the query may be %s", (_, query, expected) => {
  expect(connectionUrl("ws://localhost", "CP001", query)).toBe(expected)
})

it("the endpoint's own query stays, the further one follows", () => {
  expect(connectionUrl("ws://localhost/ocpp?tenant=1", "CP001")).toBe("ws://localhost/ocpp/CP001?tenant=1")
  expect(connectionUrl("ws://localhost/ocpp/?tenant=1", "CP001", { tenant: "2", v: "3" })).toBe(
    "ws://localhost/ocpp/CP001?tenant=1&tenant=2&v=3",
  )
})

it.each([
  "http://localhost",
  "https://localhost/ocpp",
  "localhost:3000",
  "ftp://x",
  "//localhost",
  "ws://",
  "",
  "nonsense",
])("an endpoint %j is refused, and named", (endpoint) => {
  const make = () => connectionUrl(endpoint, "CP001")
  expect(make).toThrow(TypeError)
  expect(make).toThrow(`endpoint must be a ws:// or wss:// URL; got ${JSON.stringify(endpoint)}`)
})

it("an empty identity is refused", () => {
  expect(() => connectionUrl("ws://localhost", "")).toThrow(TypeError)
  expect(() => connectionUrl("ws://localhost", "")).toThrow("identity must not be empty")
})

it.each([".", ".."])("identity %j, which a URL cannot hold as a segment, is refused", (identity) => {
  expect(() => connectionUrl("ws://localhost/ocpp", identity)).toThrow(TypeError)
})

it("an identity that is not well-formed Unicode is refused, as every other one: with a TypeError", () => {
  expect(() => connectionUrl("ws://localhost", "CP\ud800")).toThrow(TypeError)
})
