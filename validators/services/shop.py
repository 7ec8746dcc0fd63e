"""A shop: products with stock, a cart, orders that can be cancelled until they are shipped. Prices are whole cents."""

from __future__ import annotations

from random import Random
from typing import Any

from validators.services.base import Cast, Json, Service, ToolError, found, new_id, one_of, text, tool, whole

PRODUCTS = {
    "kitchen": ("steel kettle", "bread knife", "mixing bowl", "coffee grinder", "cast iron pan", "paring knife"),
    "office": ("desk lamp", "paper tray", "monitor stand", "label printer", "footrest", "whiteboard"),
    "garden": ("watering can", "pruning shears", "rain gauge", "seed tray", "hose reel", "garden fork"),
    "travel": ("packing cubes", "neck pillow", "power adapter", "rain cover", "luggage scale", "toiletry bag"),
}
FINISHES = ("basic", "classic", "pro", "compact", "premium")
NUM_PER_CATEGORY = 3
NUM_ORDERS = 3


def _seed(rng: Random, _cast: Cast) -> Json:
    products: Json = {}
    for category, names in PRODUCTS.items():
        prices = rng.sample(range(4, 160), NUM_PER_CATEGORY)  # distinct: the cheapest of a category is one product
        for name, price in zip(rng.sample(names, NUM_PER_CATEGORY), prices, strict=True):
            sku = f"{category[0].upper()}{len(products) + 1:02}-{rng.randint(100, 999)}"
            products[sku] = {
                "sku": sku,
                "name": f"{rng.choice(FINISHES)} {name}",
                "category": category,
                "price_cents": price * 100 + rng.choice((0, 50, 90, 99)),
                "stock": rng.randint(4, 30),
            }
    number = rng.randint(3000, 8000)
    orders: Json = {}
    for place, status in enumerate(("placed", "shipped", "delivered")[:NUM_ORDERS]):
        product = rng.choice(list(products.values()))
        quantity = rng.randint(1, 3)
        key = f"ORD-{number + place}"
        line = {"sku": product["sku"], "quantity": quantity, "price_cents": product["price_cents"]}
        total = quantity * product["price_cents"]
        orders[key] = {"id": key, "status": status, "items": [line], "total_cents": total}
    return {"products": products, "cart": {}, "orders": orders, "next_id": number + NUM_ORDERS}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words, limit = given.get("query", "").lower(), given.get("max_price_cents")
    hits = [
        product
        for product in own["products"].values()
        if words in product["name"]
        and given.get("category", product["category"]) == product["category"]
        and (limit is None or product["price_cents"] <= limit)
    ]
    return {"products": sorted(hits, key=lambda product: (product["price_cents"], product["sku"]))}


def _get(own: Json, given: Json, _state: Json) -> Json:
    return {"product": found(own["products"], given["sku"], "product")}


def _cart_of(own: Json) -> Json:
    lines: list[dict[str, Any]] = []
    for sku, quantity in own["cart"].items():
        product = own["products"][sku]
        cost = quantity * product["price_cents"]
        lines.append({"sku": sku, "name": product["name"], "quantity": quantity, "cost_cents": cost})
    return {"items": lines, "total_cents": sum(line["cost_cents"] for line in lines)}


def _add(own: Json, given: Json, _state: Json) -> Json:
    product = found(own["products"], given["sku"], "product")
    wanted = own["cart"].get(product["sku"], 0) + given["quantity"]
    if wanted > product["stock"]:
        message = f"only {product['stock']} of {product['sku']} are in stock, {wanted} are wanted"
        raise ToolError("out_of_stock", message, available=product["stock"])
    own["cart"][product["sku"]] = wanted
    return _cart_of(own)


def _view(own: Json, _given: Json, _state: Json) -> Json:
    return _cart_of(own)


def _checkout(own: Json, _given: Json, _state: Json) -> Json:
    cart = _cart_of(own)
    if not cart["items"]:
        raise ToolError("conflict", "the cart is empty")
    key = new_id(own, "ORD-")
    items = []
    for line in cart["items"]:
        product = own["products"][line["sku"]]
        product["stock"] -= line["quantity"]
        items.append({"sku": line["sku"], "quantity": line["quantity"], "price_cents": product["price_cents"]})
    own["orders"][key] = {"id": key, "status": "placed", "items": items, "total_cents": cart["total_cents"]}
    own["cart"] = {}
    return {"order": own["orders"][key]}


def _get_order(own: Json, given: Json, _state: Json) -> Json:
    return {"order": found(own["orders"], given["order_id"], "order")}


def _list_orders(own: Json, given: Json, _state: Json) -> Json:
    wanted = given.get("status")
    orders = [order for key, order in sorted(own["orders"].items()) if wanted in (None, order["status"])]
    return {"orders": [{key: order[key] for key in ("id", "status", "total_cents")} for order in orders]}


def _cancel(own: Json, given: Json, _state: Json) -> Json:
    order = found(own["orders"], given["order_id"], "order")
    if order["status"] != "placed":
        message = f"{order['id']} is {order['status']} and can't be cancelled any more"
        raise ToolError("conflict", message, status=order["status"])
    order["status"] = "cancelled"
    for line in order["items"]:
        own["products"][line["sku"]]["stock"] += line["quantity"]
    return {"order": order, "refund_cents": order["total_cents"]}


_SKU = text("stock number of the product, e.g. K01-420")
_ORDER_ID = text("id of the order, e.g. ORD-3107")
_STATUSES = ("placed", "shipped", "delivered", "cancelled")

SERVICE = Service(
    name="shop",
    about="an online shop",
    seed=_seed,
    tools=(
        tool(
            "shop_search_products",
            "Find products, the cheapest first.",
            _search,
            optional={
                "query": text("part of the name"),
                "category": one_of("department", *PRODUCTS),
                "max_price_cents": whole("highest price in cents", 1, 1_000_000),
            },
        ),
        tool("shop_get_product", "Get price and stock of a product.", _get, required={"sku": _SKU}),
        tool(
            "shop_add_to_cart",
            "Put a product into the cart.",
            _add,
            required={"sku": _SKU, "quantity": whole("how many", 1, 100)},
            writes=True,
        ),
        tool("shop_view_cart", "Show the cart and its total in cents.", _view),
        tool("shop_checkout", "Order everything in the cart.", _checkout, writes=True),
        tool("shop_get_order", "Get one order.", _get_order, required={"order_id": _ORDER_ID}),
        tool(
            "shop_list_orders",
            "List the user's orders.",
            _list_orders,
            optional={"status": one_of("only orders in this state", *_STATUSES)},
        ),
        tool(
            "shop_cancel_order",
            "Cancel an order that is not shipped yet.",
            _cancel,
            required={"order_id": _ORDER_ID},
            writes=True,
        ),
    ),
)
