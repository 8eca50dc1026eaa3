import { Buffer } from "node:buffer"
import { type IncomingHttpHeaders, IncomingMessage } from "node:http"
import { Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import * as Handshake from "../src/Handshake.ts"

const requestOf = (url: string, headers: IncomingHttpHeaders = {}) => {
  const request = new IncomingMessage(new Socket())
  request.url = url
  request.headers = headers
  return request
}

const read = (url: string, headers?: IncomingHttpHeaders) => Handshake.read(requestOf(url, headers))

describe("the identity", () => {
  it.each([
    ["/CP001", "CP001"],
    ["/ocpp/CP001", "CP001"],
    ["/a/b/c/CP001?x=/y/z", "CP001"],
    ["/CP%20001", "CP 001"],
    ["/R%C3%A9union-%F0%9F%98%80", "Réunion-😀"],
    ["/CP%25001", "CP%001"],
    ["/%2525", "%25"],
    ["/CP%3A1%3F%23", "CP:1?#"],
    ["/CP+1", "CP+1"],
    ["/__proto__", "__proto__"],
    [`/${"x".repeat(255)}`, "x".repeat(255)],
    [`/${"%41".repeat(255)}`, "A".repeat(255)],
  ])("of %s is decoded, once", (url, identity) => {
    expect(read(url)?.identity).toBe(identity)
  })

  it.each([
    ["a broken escape", "/%E0%A4%A"],
    ["half an escape", "/CP%2"],
    ["a lone percent sign", "/CP%"],
    ["bytes that are not UTF-8", "/%ff"],
    ["an encoded surrogate", "/%ED%A0%80"],
    ["an overlong slash", "/%C0%AF"],
    ["an encoded slash", "/ocpp%2FCP001"],
    ["an encoded climb", "/..%2fCP001"],
    ["NUL", "/CP%00"],
    ["CR LF", "/CP%0D%0AX-Injected:%201"],
    ["TAB", "/CP%09"],
    ["DEL", "/CP%7F"],
    ["a C1 control character", "/CP%C2%85"],
    ["256 characters", `/${"x".repeat(256)}`],
    ["300 characters", `/${"x".repeat(300)}`],
    ["nothing", "/"],
    ["nothing behind the endpoint", "/ocpp/"],
    ["nothing but a query", "/?CP001"],
    ["an empty target", ""],
    ["absolute form that is no URL", "http://["],
    ["authority form", "localhost:3000"],
    ["asterisk form", "*"],
    ["nothing behind slashes", "//"],
    ["no slash", "CP001"],
  ])("may not be or come with %s", (_, url) => {
    expect(read(url)).toBeUndefined()
  })

  it("may have a slash where that is allowed; a control character nowhere", () => {
    const allowSlash = { allowSlash: true }
    expect(Handshake.read(requestOf("/ocpp/CP%2F1"), allowSlash)).toMatchObject({ identity: "CP/1", endpoint: "/ocpp" })
    expect(Handshake.read(requestOf("/CP%2F1%0A"), allowSlash)).toBeUndefined()
    expect(Handshake.faultOf(requestOf("/CP%2F1%0A"), allowSlash)).toBe("the identity has a control character")
    expect(Handshake.faultOf(requestOf("/CP%2F1"), allowSlash)).toBe("")
    expect(Handshake.faultOf(requestOf("/CP%2F1"))).toBe("the identity has a slash or a control character")
  })

  it("may not be missing with its whole target", () => {
    expect(Handshake.read(new IncomingMessage(new Socket()))).toBeUndefined()
  })
})

describe("the endpoint and the query", () => {
  it.each([
    ["/CP001", ""],
    ["/ocpp/CP001", "/ocpp"],
    ["/ocpp/1.6/CP001?a=b", "/ocpp/1.6"],
    ["/ocpp/%41/CP001", "/ocpp/%41"],
    ["/ocpp//CP001", "/ocpp/"],
    ["//CP001", "/"],
    ["//evil.example/CP001", "//evil.example"],
    ["http://host:9000/CP001", ""],
    ["http://host:9000/ocpp/CP001?a=b", "/ocpp"],
  ])("the endpoint of %s is %j", (url, endpoint) => {
    expect(read(url)?.endpoint).toBe(endpoint)
  })

  it.each([
    ["/CP001", []],
    ["/CP001?", []],
    [
      "/CP001?a=1&a=2&b=%2F+c",
      [
        ["a", "1"],
        ["a", "2"],
        ["b", "/ c"],
      ],
    ],
    ["/CP001?next=/?x", [["next", "/?x"]]],
    ["http://host/CP001?next=http://other/?x", [["next", "http://other/?x"]]],
    ["/CP001?%E0%A4%A", [["\ufffd%A", ""]]],
  ])("the query of %s is %j", (url, query) => {
    expect([...(read(url)?.query ?? [])]).toEqual(query)
  })
})

describe("the offered subprotocols", () => {
  it.each([
    [undefined, []],
    ["", []],
    ["ocpp1.6", ["ocpp1.6"]],
    ["ocpp2.1, ocpp2.0.1 ,\tocpp1.6", ["ocpp2.1", "ocpp2.0.1", "ocpp1.6"]],
    [",, ,ocpp1.6,", ["ocpp1.6"]],
    ["ocpp1.6,ocpp2.1,ocpp1.6", ["ocpp1.6", "ocpp2.1"]],
    ["constructor,__proto__", ["constructor", "__proto__"]],
  ])("of %j are %j", (header, protocols) => {
    const headers = header === undefined ? {} : { "sec-websocket-protocol": header }
    expect([...(read("/CP001", headers)?.protocols ?? ["unread"])]).toEqual(protocols)
  })

  it("are found in a header of 32 KiB of blanks and commas", () => {
    const headers = { "sec-websocket-protocol": `${" ,".repeat(8192)}${" ".repeat(16384)}x` }
    expect([...(read("/CP001", headers)?.protocols ?? [])]).toEqual(["x"])
  })
})

describe("the password", () => {
  const basic = (user: string, password: Uint8Array | string) =>
    `Basic ${Buffer.concat([Buffer.from(`${user}:`), Buffer.from(password)]).toString("base64")}`
  const password = (identity: string, authorization: string) =>
    read(`/${encodeURIComponent(identity)}`, { authorization })?.password

  it.each([
    ["CP001", "secret"],
    ["CP001", "se:cret:"],
    ["CP001", ":"],
    ["AA:BB:CC", "secret"],
    ["AA:BB:CC", "DD:EE"],
    [":", "::"],
    ["Réunion 😀", "pässwörd"],
    ["CP001", ""],
  ])("of %j is %j: colons anywhere, or nothing at all", (identity, secret) => {
    expect(password(identity, basic(identity, secret))).toEqual(Buffer.from(secret))
  })

  it("may be any bytes", () => {
    const secret = Buffer.from([0x00, 0xff, 0xc3, 0x28, 0x3a, 0x0a, 0x80, ...Array(256).keys()])
    expect(password("CP001", basic("CP001", secret))).toEqual(secret)
  })

  it.each(["basic", "BASIC", "bAsIc"])("is found whatever the case of %s", (scheme) => {
    const encoded = Buffer.from("CP001:x").toString("base64")
    expect(password("CP001", `${scheme} ${encoded}`)).toEqual(Buffer.from("x"))
  })

  it("is absent without the header", () => {
    expect(read("/CP001")).toMatchObject({ identity: "CP001", password: undefined })
  })

  it.each([
    ["of another user", basic("CP002", "secret")],
    ["of a user whose name is longer", basic("CP0011", "secret")],
    ["of a user whose name is shorter", basic("CP00", "secret")],
    ["of a user whose case differs", basic("cp001", "secret")],
    ["of nobody", basic("", "secret")],
    ["without a colon", `Basic ${Buffer.from("CP001").toString("base64")}`],
    ["of another scheme", "Bearer Q1AwMDE6c2VjcmV0"],
    ["that only looks like Basic", "NotBasic Q1AwMDE6c2VjcmV0"],
    ["that is not base64", "Basic !!!!"],
    ["that is empty", "Basic "],
    ["without a space", "Basic"],
    ["that goes on", "Basic Q1AwMDE6c2VjcmV0 more"],
  ])("is absent from credentials %s", (_, authorization) => {
    expect(read("/CP001", { authorization })).toMatchObject({ identity: "CP001", password: undefined })
  })
})

it("the request, its headers and its address are passed on", () => {
  const request = new IncomingMessage(new Socket())
  request.url = "/CP001"
  request.headers = { "x-model": "M1" }
  const handshake = Handshake.read(request)
  expect(handshake?.request).toBe(request)
  expect(handshake?.headers).toEqual({ "x-model": "M1" })
  expect(handshake).toHaveProperty("remoteAddress", undefined)
})
